package backend

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
)

// Export is where an attached volume is served, as the backend listens. Tables have
// it as JSON; the zero Export is none.
type Export struct {
	Protocol string `json:"protocol"` // nbd, or nbds over TLS
	Address  string `json:"address"`  // host:port
	Name     string `json:"name"`     // of the export
}

// None says that it is served nowhere.
func (e Export) None() bool { return e == Export{} }

// Value stores it: empty for none. Errors: none of its own.
func (e Export) Value() (driver.Value, error) {
	if e.None() {
		return "", nil
	}
	b, err := json.Marshal(e)
	return string(b), err
}

// Scan reads it back. Errors: none of its own, only those of JSON.
func (e *Export) Scan(src any) error {
	*e = Export{}
	text, ok := src.(string)
	if b, bytes := src.([]byte); bytes {
		text, ok = string(b), true
	}
	switch {
	case !ok && src != nil:
		return fmt.Errorf("export: cannot scan %T", src)
	case text == "":
		return nil
	}
	return json.Unmarshal([]byte(text), e)
}
