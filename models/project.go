package models

import "blockconsole/models/backend"

// DefaultProject is the project of the console's users, and the only one of objects
// where the backend has no projects.
const DefaultProject = "default"

// Project is an owner of objects in the backend.
type Project = backend.Project
