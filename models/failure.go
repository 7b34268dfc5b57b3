package models

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
)

// Failure is why something went wrong, as a text of the catalog; the zero Failure
// is none. It is stored as JSON.
type Failure struct{ Text }

// None says that nothing went wrong.
func (f Failure) None() bool { return f.Key == "" }

// Value stores it: empty for none.
func (f Failure) Value() (driver.Value, error) {
	if f.None() {
		return "", nil
	}
	b, err := json.Marshal(f.Text)
	return string(b), err
}

// Scan reads it back.
func (f *Failure) Scan(src any) error {
	*f = Failure{}
	var text string
	switch v := src.(type) {
	case nil:
		return nil
	case string:
		text = v
	case []byte:
		text = string(v)
	default:
		return fmt.Errorf("failure: cannot scan %T", src)
	}
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), &f.Text)
}
