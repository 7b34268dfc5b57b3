package web_test

import (
	"blockconsole/models"
	"blockconsole/web"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestMetrics_ByRoute(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.As(models.Viewer)
	b.Get("/storage/block-storage/volumes/" + models.NewID())
	b.Get("/none/" + models.NewID())
	b.Send("INVENTED", "/account", nil)
	listener := httptest.NewServer(web.MetricsHandler(c.Registry))
	defer listener.Close()
	resp, err := http.Get(listener.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`class="4xx",method="GET",route="/storage/block-storage/volumes/:id"`, `method="other"`, "blockconsole_live_streams 0"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if strings.Contains(string(text), "/none/") {
		t.Error("a path that anybody can invent is a label")
	}
}
