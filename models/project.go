package models

import (
	"strings"
)

// ProjectNames are the names of the projects whose objects are shown, by id.
func (f Capabilities) ProjectNames() map[string]string {
	names := map[string]string{}
	for _, p := range f.Projects {
		names[p.ID] = p.Name
	}
	if f.Project.Name != "" {
		names[f.Project.ID] = f.Project.Name
	}
	return names
}

// DefaultProject is the only project of an installation of one machine.
const DefaultProject = "default"

// Project is an owner of objects.
type Project struct{ ID, Name string }

func (p Project) String() string {
	return strings.TrimSpace("project "+p.Name) + " (" + p.ID + ")"
}
