package cloudtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// sweep deletes every object and server that these tests have made with such names,
// also when the test is over.
func (c *cloud) sweep(such func(string) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), patience)
	defer cancel()
	pause := time.NewTicker(300 * time.Millisecond)
	defer pause.Stop()
	for began := time.Now(); ; {
		left, err := c.sweepOnce(ctx, such, time.Since(began) > stuckAfter)
		if err == nil && len(left) == 0 {
			return
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			c.t.Errorf("not swept: %s %v", strings.Join(left, ", "), err)
			return
		}
	}
}

// stuckAfter is when the cloud is no longer believed that something is under way: what
// it had begun when a service went away may stay so for ever.
const stuckAfter = 45 * time.Second

// sweepOnce asks for the deletion of everything that can be deleted now, and names
// what is still there.
func (c *cloud) sweepOnce(ctx context.Context, such func(string) bool, late bool) ([]string, error) {
	var left []string
	servers, err := c.servers(ctx, such)
	if err != nil {
		return nil, err
	}
	for _, s := range servers {
		left = append(left, "server "+s.Name)
		if _, err := c.ask(ctx, c.compute, http.MethodDelete, "servers/"+s.ID, nil, nil); err != nil {
			return left, err
		}
	}
	var volumes, snapshots []object
	if volumes, err = c.listed(ctx, "volumes", such); err == nil {
		snapshots, err = c.listed(ctx, "snapshots", such)
	}
	if err != nil {
		return left, err
	}
	for _, o := range snapshots {
		left = append(left, "snapshot "+o.Name+" "+o.Status)
		cloned := slices.ContainsFunc(volumes, func(v object) bool { return v.SnapshotID == o.ID })
		if !cloned {
			err = errors.Join(err, c.remove(ctx, "snapshots", "snapshot", o, late))
		}
	}
	for _, o := range volumes {
		left = append(left, "volume "+o.Name+" "+o.Status)
		kept := slices.ContainsFunc(snapshots, func(s object) bool { return s.VolumeID == o.ID })
		if !kept {
			err = errors.Join(err, c.remove(ctx, "volumes", "volume", o, late))
		}
	}
	return left, err
}

// remove asks for the deletion of an object. One that failed on demand gets a name
// that asks for no failure, and the help of an administrator.
func (c *cloud) remove(ctx context.Context, kinds, kind string, o object, late bool) error {
	path := kinds + "/" + o.ID
	switch o.Status {
	case "available", "error":
		if strings.Contains(o.Name, "fail") {
			plain := strings.ReplaceAll(o.Name, "fail", "done")
			if _, err := c.ask(ctx, c.volume, http.MethodPut, path, map[string]any{kind: map[string]string{"name": plain}}, nil); err != nil {
				return err
			}
		}
		_, err := c.ask(ctx, c.volume, http.MethodDelete, path, nil, nil)
		return err
	case "error_deleting", "error_extending", "error_restoring":
		return c.unstick(ctx, path)
	}
	if late {
		return c.unstick(ctx, path)
	}
	return nil // it is under way
}

// unstick sets the status of an object to error, as an administrator may.
func (c *cloud) unstick(ctx context.Context, path string) error {
	name := c.name
	if !strings.HasSuffix(name, "-admin") {
		name = os.Getenv("OS_CLOUD") + "-admin"
	}
	if _, _, _, err := parseCloud(name); err != nil {
		return err
	}
	admin := signIn(ctx, c.t, name)
	status, err := admin.ask(ctx, admin.volume, http.MethodPost, path+"/action", map[string]any{"os-reset_status": map[string]string{"status": "error"}}, nil)
	if err == nil && status >= http.StatusBadRequest {
		err = fmt.Errorf("reset the status of %s: %d", path, status)
	}
	return err
}
