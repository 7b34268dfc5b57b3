package backend_test

import (
	"context"
	"testing"

	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
)

func TestIntercept_Exporter(t *testing.T) {
	var names []string
	interceptor := func(ctx context.Context, method string, call func(context.Context) error) error {
		names = append(names, method)
		return call(ctx)
	}
	if _, ok := backend.Intercept(struct{ backend.Backend }{}, interceptor).(backend.Exporter); ok {
		t.Error("what exports nothing has become an exporter")
	}
	fake := backendtest.NewFake(nil)
	fake.Serve("nbd", "127.0.0.1:10809", func(context.Context) ([]backend.RegisteredServer, error) { return nil, nil })
	e, ok := backend.Intercept(fake, interceptor).(backend.Exporter)
	if !ok {
		t.Fatal("an exporter is none any more")
	}
	if _, err := e.Connections(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := e.Export(t.Context(), backend.Key{Ref: "missing"}); err == nil {
		t.Error("an export of what is not there")
	}
	if len(names) != 2 || names[0] != "Connections" || names[1] != "Export" {
		t.Errorf("intercepted %v", names)
	}
}
