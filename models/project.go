package models

import "blockconsole/models/backend"

// DefaultProject is the only project of an installation of one machine.
const DefaultProject = "default"

// Project is an owner of objects in the backend.
type Project = backend.Project
