package static

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestOpen_RequiresHash(t *testing.T) {
	t.Parallel()
	url := URL("app.css")
	if !regexp.MustCompile(`^/static/app\.[0-9a-f]{12}\.css$`).MatchString(url) {
		t.Fatalf("address %q", url)
	}
	f, ok := Open(strings.TrimPrefix(url, Prefix))
	if !ok || !f.Immutable || f.ContentType != "text/css; charset=utf-8" || len(f.Content) == 0 {
		t.Errorf("%s: %v %q", url, ok, f.ContentType)
	}
	for _, address := range []string{"app.css", "app.000000000000.css", "", "../static.go", "static.go", "vendor/", "vendor/htmx.min.js"} {
		if _, ok := Open(address); ok {
			t.Errorf("%q was served", address)
		}
	}
}

func TestOpen_Gzip(t *testing.T) {
	t.Parallel()
	f, _ := Open(strings.TrimPrefix(URL("vendor/htmx.min.js"), Prefix))
	r, err := gzip.NewReader(bytes.NewReader(f.Gzip))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(content, f.Content) || len(f.Gzip)*2 > len(content) {
		t.Errorf("%d of %d bytes: %v", len(f.Gzip), len(f.Content), err)
	}
}

func TestURL_UnknownName(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	URL("nothing.css")
}

func TestFavicon(t *testing.T) {
	t.Parallel()
	if f := Favicon(); f.ContentType != "image/x-icon" || !bytes.HasPrefix(f.Content, []byte{0, 0, 1, 0}) || f.Immutable {
		t.Errorf("favicon: %q %v", f.ContentType, f.Immutable)
	}
}

// TestVendor_Checksums compares them with the sums in the README.
func TestVendor_Checksums(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("vendor/README.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^\| (\S+\.js) \| \S+ \| ([0-9a-f]{64}) \|$`).FindAllStringSubmatch(string(readme), -1)
	if len(lines) != 2 {
		t.Fatalf("%d files in the README", len(lines))
	}
	for _, m := range lines {
		content, err := os.ReadFile("vendor/" + m[1])
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != m[2] {
			t.Errorf("%s is not the file that the README names", m[1])
		}
	}
}

// TestScripts_NoEval keeps our scripts fit for the content security policy.
func TestScripts_NoEval(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"app.js", "clicks.js", "live.js"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := regexp.MustCompile(`\beval\(|new Function|innerHTML =|document\.write`).Find(text); found != nil {
			t.Errorf("%s has %q", name, found)
		}
	}
}

// TestScripts_PublicHtmxOnly keeps our scripts off htmx's private state.
func TestScripts_PublicHtmxOnly(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"app.js", "clicks.js", "live.js"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("_htmx")) {
			t.Errorf("%s reads _htmx", name)
		}
	}
}
