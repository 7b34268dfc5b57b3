package backend_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"blockconsole/models/backend"
)

func TestErrorCode(t *testing.T) {
	for want, err := range map[string]error{
		"": nil, "not_found": backend.ErrNotFound, "unsupported": fmt.Errorf("so: %w", backend.ErrUnsupported),
		"conflict": &backend.Error{Code: backend.CodeConflict}, "busy": &backend.Error{Code: backend.CodeBusy}, "quota": &backend.Error{Code: backend.CodeQuota}, "invalid": &backend.Error{Code: backend.CodeInvalid},
		"forbidden": &backend.Error{Code: backend.CodeForbidden}, "no_space": &backend.Error{Code: backend.CodeNoSpace}, "fault": &backend.Error{Code: backend.CodeFault}, "reported": &backend.Error{Code: backend.CodeReported},
		"unavailable": &backend.Error{Code: backend.CodeUnavailable}, "credentials": &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Credentials},
		"too_many": &backend.Error{Code: backend.CodeUnavailable, Cause: backend.TooMany}, "clock": &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Clock},
		"cancelled": context.Canceled, "other": errors.New("strange"),
	} {
		if got := backend.ErrorCode(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

func TestError_Message(t *testing.T) {
	eio := errors.New("EIO")
	for want, err := range map[string]error{
		"not found":                     backend.ErrNotFound,
		"not supported by this backend": backend.ErrUnsupported,
		"conflict: it is attached":      &backend.Error{Code: backend.CodeConflict, Message: "it is attached"},
		"busy: 1 dependents":            &backend.Error{Code: backend.CodeBusy, Dependents: []backend.Key{{ID: "1"}}},
		"quota of gigabytes exceeded: 9 used, 3 asked, limit 10": &backend.Error{Code: backend.CodeQuota, What: "gigabytes", Used: 9, Limit: 10, Asked: 3},
		"invalid size_gib: too small":                            &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: "too small"},
		"forbidden: role admin needed":                           &backend.Error{Code: backend.CodeForbidden, Role: "admin"},
		"no space: 2 bytes needed, 1 free":                       &backend.Error{Code: backend.CodeNoSpace, Need: 2, Free: 1},
		"the disk failed in flush: EIO":                          &backend.Error{Code: backend.CodeFault, Op: "flush", Err: eio},
		"reported: create volume: no":                            &backend.Error{Code: backend.CodeReported, Message: "create volume: no"},
		"backend unavailable: EIO":                               &backend.Error{Code: backend.CodeUnavailable, Err: eio},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

func TestError_Is(t *testing.T) {
	gone := fmt.Errorf("so: %w", &backend.Error{Code: backend.CodeNotFound, Message: "volume 1"})
	if !errors.Is(gone, backend.ErrNotFound) || errors.Is(gone, backend.ErrUnsupported) {
		t.Error("an error of the same code is ErrNotFound, and no other")
	}
	if errors.Is(&backend.Error{Code: backend.CodeConflict}, &backend.Error{Code: backend.CodeConflict, Message: "it is attached"}) {
		t.Error("errors with details are equal by identity only")
	}
	under := &backend.Error{Code: backend.CodeUnavailable, Err: backend.ErrNotFound}
	if e := backend.AsError(fmt.Errorf("so: %w", under)); e != under || !errors.Is(under, backend.ErrNotFound) {
		t.Errorf("%v", e)
	}
	if backend.AsError(under, backend.CodeNotFound, backend.CodeBusy) != nil || backend.AsError(under, backend.CodeBusy, backend.CodeUnavailable) != under {
		t.Error("AsError looks at the outermost error of the port")
	}
	if backend.AsError(nil) != nil || backend.AsError(context.Canceled) != nil {
		t.Error("there is no error of the port")
	}
}
