package app

// What tests outside of the package need of it.
const LeastDescriptors = leastDescriptors

var DivideDescriptors = divideDescriptors
