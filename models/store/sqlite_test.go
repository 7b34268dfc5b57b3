package store_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestSQLite_LibcVersion expects the libc that modernc.org/sqlite was generated for: others may
// not work.
func TestSQLite_LibcVersion(t *testing.T) {
	t.Parallel()
	version := func(args ...string) (v struct{ Version, GoMod string }) {
		out, err := exec.Command("go", append([]string{"list", "-m", "-json"}, args...)...).Output()
		if err == nil {
			err = json.Unmarshal(out, &v)
		}
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	wants, err := os.ReadFile(version("modernc.org/sqlite").GoMod)
	if err != nil {
		t.Fatal(err)
	}
	if line := fmt.Sprintf("modernc.org/libc %s\n", version("modernc.org/libc").Version); !strings.Contains(string(wants), line) {
		t.Errorf("go.mod has %s, which modernc.org/sqlite does not name", strings.TrimSpace(line))
	}
}
