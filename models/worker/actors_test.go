package worker_test

import "blockconsole/models/store/storetest"

var operator, admin = storetest.Operator(), storetest.Administrator()
