package web_test

import (
	"blockconsole/models"
	"blockconsole/web/app/apptest"
	"net/http"
	"testing"
)

func TestReadiness(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.NewClient()
	for _, path := range []string{"/healthz", "/readyz"} {
		apptest.WantStatus(t, b.Get(path), http.StatusOK)
	}
	if len(b.Cookies()) != 0 {
		t.Errorf("cookies are %v", b.Cookies())
	}
	viewer := c.As(models.Viewer)
	if err := c.Store.Close(); err != nil {
		t.Fatal(err)
	}
	apptest.WantStatus(t, b.Get("/readyz"), http.StatusServiceUnavailable)
	apptest.WantStatus(t, b.Get("/healthz"), http.StatusOK)
	apptest.WantStatus(t, viewer.Get("/account"), http.StatusInternalServerError)
}
