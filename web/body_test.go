package web_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/web/app/apptest"
)

const formType = "application/x-www-form-urlencoded"

// sendBody posts a body as a program with the client's session does. chunked hides its
// length until it has been read.
func sendBody(t *testing.T, b *apptest.Client, path, contentType, body string, chunked bool, headers ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := b.NewRequest(ctx, http.MethodPost, path, nil, append([]string{"Sec-Fetch-Site", "same-origin"}, headers...)...)
	if err != nil {
		t.Fatal(err)
	}
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", "application/json")
	}
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	switch {
	case chunked:
		r.ContentLength = -1
	case body == "":
		r.Body = http.NoBody
	}
	if r.Header.Set("Content-Type", contentType); contentType == "" {
		r.Header.Del("Content-Type")
	}
	resp, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// postPaths are the paths of every POST route, with objects that exist where they name
// one. Signing out comes last: it ends the session of the walk.
func postPaths(t *testing.T, c *apptest.Console) []string {
	t.Helper()
	v := c.NewVolume("data-1", 1)
	s := c.NewSnapshot(v, "snap-1")
	var paths []string
	for _, rule := range c.Server.Access() {
		if rule.Method != http.MethodPost || strings.HasPrefix(rule.Path, "/test/") {
			continue
		}
		id := models.NewID()
		switch {
		case strings.Contains(rule.Path, "/volumes/"):
			id = v.ID
		case strings.Contains(rule.Path, "/snapshots/"):
			id = s.ID
		case strings.Contains(rule.Path, "/servers/"):
			id = "server-1"
		}
		if path := strings.NewReplacer(":id", id, ":session", models.NewID()).Replace(rule.Path); path != "/logout" {
			paths = append(paths, path)
		}
	}
	if len(paths) < 20 {
		t.Fatalf("only %d POST routes", len(paths))
	}
	return append(paths, "/logout")
}

// Whatever route gets it: a body that cannot be read is told apart from one that is too
// large and from one of another kind, and changes nothing.
func TestPosts_BrokenBodies(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	paths := postPaths(t, c)
	const multipart = "multipart/form-data; boundary=x"
	part := "--x\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n1\r\n"
	many := strings.Repeat("id=1&", 10_001)
	for name, tc := range map[string]struct {
		contentType, body string
		chunked           bool
		headers           []string
		status            int
	}{
		"form: no hexadecimal":           {formType, "name=bad%zz", false, nil, http.StatusBadRequest},
		"form: cut escape":               {formType, "id=%4", false, nil, http.StatusBadRequest},
		"form: broken name":              {formType, "%zz=1", false, nil, http.StatusBadRequest},
		"form: semicolon":                {formType, "id=a;b", false, nil, http.StatusBadRequest},
		"form: too many fields":          {formType, many, false, nil, http.StatusRequestEntityTooLarge},
		"form: too large":                {formType, "name=" + strings.Repeat("x", 3<<20), false, nil, http.StatusRequestEntityTooLarge},
		"form: too large in chunks":      {formType, "name=" + strings.Repeat("x", 3<<20), true, nil, http.StatusRequestEntityTooLarge},
		"multipart: no boundary":         {"multipart/form-data", part + "--x--\r\n", false, nil, http.StatusBadRequest},
		"multipart: another boundary":    {"multipart/form-data; boundary=y", part + "--x--\r\n", false, nil, http.StatusBadRequest},
		"multipart: cut":                 {multipart, part, false, nil, http.StatusBadRequest},
		"multipart: broken header":       {multipart, "--x\r\nContent-Disposition\r\n\r\n1\r\n--x--\r\n", false, nil, http.StatusBadRequest},
		"multipart: too many parts":      {multipart, strings.Repeat(part, 10_001) + "--x--\r\n", false, nil, http.StatusRequestEntityTooLarge},
		"multipart: too large in chunks": {multipart, part + strings.Repeat("x", 3<<20), true, nil, http.StatusRequestEntityTooLarge},
		"JSON: cut":                      {"application/json", `{"name":"a`, false, nil, http.StatusBadRequest},
		"JSON: none, in chunks":          {"application/json", "", true, nil, http.StatusBadRequest},
		"JSON: a list":                   {"application/json", `["a"]`, false, nil, http.StatusBadRequest},
		"JSON: a word":                   {"application/json", `name`, false, nil, http.StatusBadRequest},
		"JSON: two objects":              {"application/json", `{"name":"a"}{"name":"b"}`, false, nil, http.StatusBadRequest},
		"JSON: a name twice":             {"application/json", `{"name":"a","name":"b"}`, false, nil, http.StatusBadRequest},
		"JSON: not UTF-8":                {"application/json", "{\"name\":\"\xff\"}", false, nil, http.StatusBadRequest},
		"JSON: an object as a field":     {"application/json", `{"name":{"first":"a"}}`, false, nil, http.StatusUnprocessableEntity},
		"JSON: a list in a list":         {"application/json", `{"id":[["a"]]}`, false, nil, http.StatusUnprocessableEntity},
		"JSON: too many values":          {"application/json", `{"id":[` + strings.Repeat(`"a",`, 10_001) + `"a"]}`, false, nil, http.StatusRequestEntityTooLarge},
		"JSON: too large in chunks":      {"application/json", `{"name":"` + strings.Repeat("x", 3<<20) + `"}`, true, nil, http.StatusRequestEntityTooLarge},
		"JSON: deep":                     {"application/json", `{"id":` + strings.Repeat("[", 100_000), false, nil, http.StatusUnprocessableEntity},
		"text":                           {"text/plain", "name=a", false, nil, http.StatusUnsupportedMediaType},
		"XML":                            {"application/xml", "<name>a</name>", false, nil, http.StatusUnsupportedMediaType},
		"no type":                        {"", "name=a", false, nil, http.StatusUnsupportedMediaType},
		"broken type":                    {"a form, please", "name=a", false, nil, http.StatusUnsupportedMediaType},
		"form in EUC-KR":                 {formType + "; charset=euc-kr", "name=%b0%a1", false, nil, http.StatusUnsupportedMediaType},
		"compressed":                     {formType, "name=a", false, []string{"Content-Encoding", "gzip"}, http.StatusUnsupportedMediaType},
	} {
		t.Run(name, func(t *testing.T) {
			b, unchanged := c.As(models.Administrator), c.Unchanged()
			for _, path := range paths {
				status, answer := sendBody(t, b, path, tc.contentType, tc.body, tc.chunked, tc.headers...)
				if status != tc.status || !strings.Contains(answer, `"request_id"`) {
					t.Errorf("POST %s: %d, want %d\n%.200s", path, status, tc.status, answer)
				}
			}
			unchanged(t)
			apptest.WantStatus(t, b.Get("/account"), http.StatusOK) // not even signed out
		})
	}
}

// Values that no form would send are refused field by field, also where the route reads
// them last: never by a 500.
func TestPosts_StrangeValues(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	paths := postPaths(t, c)
	fields := []string{"name", "description", "size_gib", "snapshot_id", "volume_id", "image", "server_id", "volume_type", "availability_zone", "acknowledge",
		"force", "version", "form_key", "return_to", "id", "reason", "reset_to", "address", "username", "password", "next", "current", "again", "role", "disabled", "_csrf"}
	for name, value := range map[string]string{"NUL": "a\x00b", "not UTF-8": "\xff\xfe", "long": strings.Repeat("9", 30_000), "quotes": `'"\%_`, "line ends": "a\r\nb"} {
		t.Run(name, func(t *testing.T) {
			b := c.As(models.Administrator)
			var pairs []string
			for _, field := range fields {
				pairs = append(pairs, field, value)
			}
			for _, path := range paths {
				if a := b.Post(path, apptest.Form(pairs...), apptest.AsJSON...); a.StatusCode >= http.StatusInternalServerError {
					t.Errorf("POST %s: %d\n%s", path, a.StatusCode, a.Body)
				}
			}
		})
	}
}

func TestPosts_JSONIsTheSameForm(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.JSON()
	for _, tc := range []struct {
		path, body string
		status     int
	}{
		{"/storage/block-storage/volumes", `{"name":"from-json","size_gib":2,"description":"한글 <b>","image":null}`, http.StatusAccepted},
		{"/storage/block-storage/volumes", `{"name":"no","size_gib":2}`, http.StatusUnprocessableEntity},
		{"/storage/block-storage/volumes", `{"name":"half","size_gib":1.5}`, http.StatusUnprocessableEntity},
		{"/storage/block-storage/volumes", `{}`, http.StatusUnprocessableEntity},
	} {
		if status, answer := sendBody(t, b, tc.path, "application/json; charset=UTF-8", tc.body, false); status != tc.status {
			t.Errorf("%s: %d, want %d\n%s", tc.body, status, tc.status, answer)
		}
	}
	c.Work()
	page := b.Get("/storage/block-storage/volumes?q=from-json")
	if !strings.Contains(page.Body, `"size_gib":2`) || !strings.Contains(page.Body, `"total":1`) {
		t.Fatalf("the list is %s", page.Body)
	}
	attached := c.Attach(c.NewVolume("attached", 1))
	path := "/storage/block-storage/volumes/" + attached.ID + "/snapshots"
	if status, answer := sendBody(t, b, path, "application/json", `{"name":"no-tick","acknowledge":false}`, false); status != http.StatusUnprocessableEntity {
		t.Errorf("not acknowledged: %d %s", status, answer)
	}
	if status, answer := sendBody(t, b, path, "application/json", `{"name":"ticked","acknowledge":true}`, true); status != http.StatusAccepted {
		t.Errorf("acknowledged: %d %s", status, answer)
	}
	one, two := c.NewVolume("one", 1), c.NewVolume("two", 1)
	status, answer := sendBody(t, b, "/storage/block-storage/volumes/delete", "application/json", `{"id":["`+one.ID+`","`+two.ID+`"]}`, false)
	if status != http.StatusAccepted || strings.Count(answer, `"operation"`) != 3 {
		t.Errorf("bulk: %d %s", status, answer)
	}
}

// A program signs in with JSON, and proves by the token in the body that it is no other
// site's page.
func TestPosts_JSONCarriesTheToken(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.As(models.Viewer)
	for token, want := range map[string]int{c.CSRF(b): http.StatusNoContent, "wrong": http.StatusForbidden} {
		r, err := b.NewRequest(t.Context(), http.MethodPost, "/test/write", nil, apptest.AsJSON...)
		if err != nil {
			t.Fatal(err)
		}
		body := `{"_csrf":"` + token + `"}`
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Type", "application/json")
		resp, err := b.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("token %s: %d, want %d", token, resp.StatusCode, want)
		}
	}
	status, answer := sendBody(t, c.NewClient(), "/login", "application/json", `{"username":"viewer","password":"`+storetest.Password+`"}`, false)
	if status != http.StatusOK || !strings.Contains(answer, `"csrf"`) {
		t.Errorf("sign-in: %d %s", status, answer)
	}
}

// A request without a body is an empty form, whatever its type says: that is how
// programs press buttons.
func TestPosts_NoBody(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.As(models.Viewer)
	for _, contentType := range []string{"", "application/json", "text/plain", "multipart/form-data", formType} {
		if status, answer := sendBody(t, b, "/test/write", contentType, "", false); status != http.StatusNoContent {
			t.Errorf("%q: %d %s", contentType, status, answer)
		}
		if status, answer := sendBody(t, c.Client, "/storage/block-storage/volumes/delete", contentType, "", false); status != http.StatusUnprocessableEntity {
			t.Errorf("%q to a bulk route: %d %s", contentType, status, answer)
		}
	}
	if status, _ := sendBody(t, b, "/test/write?q=%zz", formType, "", false); status != http.StatusBadRequest {
		t.Errorf("a broken address: %d", status)
	}
	if status, _ := sendBody(t, b, "/test/nothing", "text/plain", "x", false); status != http.StatusNotFound {
		t.Errorf("an address that nobody has: %d", status)
	}
}

// What a broken body is told in: a page, a fragment, both languages.
func TestPosts_BrokenBodyByFormat(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	for _, tc := range []struct {
		contentType, body string
		status            int
	}{
		{formType, "name=%zz", http.StatusBadRequest}, {"text/plain", "x", http.StatusUnsupportedMediaType}, {"application/json", "[", http.StatusBadRequest},
		{"multipart/form-data", "x", http.StatusBadRequest}, {"application/json", `{"name":{}}`, http.StatusUnprocessableEntity},
	} {
		var texts []string
		for _, lang := range []string{"ko", "en"} {
			status, page := sendBody(t, c.Client, "/storage/block-storage/volumes", tc.contentType, tc.body, false, "Accept", "text/html", "Accept-Language", lang)
			if status != tc.status || strings.Contains(page, "⟦") || !strings.Contains(page, `lang="`+lang+`"`) {
				t.Errorf("%s in %s: %d\n%s", tc.body, lang, status, page)
			}
			texts = append(texts, page)
		}
		if texts[0] == texts[1] {
			t.Errorf("%s: one text for both languages", tc.body)
		}
	}
}
