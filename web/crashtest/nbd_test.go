package crashtest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"blockconsole/models/backend/backendtest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// needTools skips a test whose programs are missing, by name. With
// BLOCKCONSOLE_REQUIRE_NBD set that is an error.
func needTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("BLOCKCONSOLE_REQUIRE_NBD") != "" {
			t.Fatal(name + " is missing")
		}
		t.Skip(name + " is missing")
	}
}

// tool runs a program that must succeed and returns what it says.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// site is a running console with registered servers.
type site struct {
	*apptest.Program
	t       *testing.T
	api     *apptest.Client
	nbd     string            // where servers reach volumes: host:port
	servers map[string]string // ids by name
}

// newSite starts a console with NBD and registers servers: a name, then its
// addresses.
func newSite(t *testing.T, settings []string, servers ...[2]string) *site {
	t.Helper()
	s := &site{Program: apptest.NewProgram(t, append([]string{"NBD_ADDR=127.0.0.1:0"}, settings...)...), t: t, servers: map[string]string{}}
	s.start()
	s.SignIn()
	s.api = s.Client.JSON()
	for _, server := range servers {
		apptest.WantStatus(t, s.post(views.ServersPath, "name", server[0], "address", server[1]), http.StatusCreated)
	}
	var list struct{ Items []struct{ ID, Name string } }
	s.api.Read(views.ServersPath, &list)
	for _, server := range list.Items {
		s.servers[server.Name] = server.ID
	}
	if len(s.servers) != len(servers) {
		t.Fatalf("registered %v", list)
	}
	return s
}

func (s *site) start() {
	s.t.Helper()
	s.Start()
	s.nbd = s.NBD()
}

func (s *site) post(path string, fields ...string) apptest.Answer {
	s.t.Helper()
	return s.api.Post(path, apptest.FormWithKey(fields...))
}

// done asks for an operation and waits until it has succeeded. It returns the id of
// its object.
func (s *site) done(path string, fields ...string) string {
	s.t.Helper()
	return s.api.Succeed(apptest.Patience, path, fields...)
}

func (s *site) newVolume(name string) string {
	s.t.Helper()
	return s.done(views.VolumesPath, "name", name, "size_gib", "1")
}

func (s *site) attach(id, server string) {
	s.t.Helper()
	s.done(views.VolumesPath+"/"+id+"/attach", "server_id", s.servers[server])
}

func (s *site) status(id string) string {
	s.t.Helper()
	var v object
	s.api.Read(views.VolumesPath+"/"+id, &v)
	return v.Status
}

// uri is how clients name a volume's export.
func (s *site) uri(id string) string { return "nbd://" + s.nbd + "/" + id }

// wantUnknown checks that libnbd's client does not find the export.
func (s *site) wantUnknown(id string) {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), "nbdinfo", "--size", s.uri(id)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "No such file or directory") {
		s.t.Errorf("nbdinfo of an export that is none: %v: %s", err, out)
	}
}

// raw connects from an address of this machine and chooses a volume.
func (s *site) raw(from, id string) (*backendtest.NBD, error) {
	c, err := backendtest.DialNBD(s.t.Context(), s.nbd, from, nil)
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { c.Close() })
	return c, c.Use(id)
}

// fileSystem makes an image that holds files, and returns it and its length.
func fileSystem(t *testing.T) (path string, size int64) {
	t.Helper()
	files := filepath.Join(t.TempDir(), "files")
	if err := os.CopyFS(files, os.DirFS(filepath.Join("..", "..", "models"))); err != nil {
		t.Fatal(err)
	}
	path, size = filepath.Join(t.TempDir(), "image"), 256<<20
	tool(t, "mkfs.ext4", "-q", "-d", files, path, strconv.FormatInt(size>>10, 10))
	return path, size
}

// hashOf is the hash of the first n bytes of a file.
func hashOf(t *testing.T, path string, n int64) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyN(h, f, n); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestNBDWalk is the guide with a volume that really is attached: a file system
// goes in by NBD, a snapshot is taken of it, it is overwritten, and it comes back on
// another server, all read and written by the common clients.
func TestNBDWalk(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: runs the program and clients of it")
	}
	needTools(t, "nbdinfo", "nbdcopy", "qemu-img", "qemu-io", "mkfs.ext4", "e2fsck")
	s := newSite(t, nil, [2]string{"web-1", "127.0.0.1"}, [2]string{"web-2", "127.0.0.0/24"})
	image, size := fileSystem(t)
	id := s.newVolume("database")
	s.wantUnknown(id)
	s.attach(id, "web-1")
	if got := s.status(id); got != "IN-USE" {
		t.Fatal(got)
	}
	if got := strings.TrimSpace(tool(t, "nbdinfo", "--size", s.uri(id))); got != fmt.Sprint(gib) {
		t.Errorf("nbdinfo: %s bytes", got)
	}
	if list := tool(t, "nbdinfo", "--list", "nbd://"+s.nbd); !strings.Contains(list, id) || !strings.Contains(list, "database") {
		t.Errorf("nbdinfo lists %s", list)
	}
	tool(t, "nbdcopy", image, s.uri(id))
	tool(t, "qemu-io", "-f", "raw", "-c", "read -P 0 900M 1M", s.uri(id))

	snapshots := views.SnapshotsPath
	apptest.WantStatus(t, s.post(snapshots, "name", "unasked", "volume_id", id), http.StatusUnprocessableEntity)
	snapshot := s.done(snapshots, "name", "before", "volume_id", id, "acknowledge", "1")
	tool(t, "qemu-io", "-f", "raw", "-c", "write -P 0x5a 0 64M", "-c", "flush", s.uri(id))

	restored := s.done(snapshots+"/"+snapshot+"/restore", "name", "restored", "size_gib", "1", "server_id", s.servers["web-2"])
	if got := s.status(restored); got != "IN-USE" {
		t.Fatal(got)
	}
	back := filepath.Join(t.TempDir(), "back")
	tool(t, "nbdcopy", s.uri(restored), back)
	if got, want := hashOf(t, back, size), hashOf(t, image, size); got != want {
		t.Errorf("%s came back, %s went in", got, want)
	}
	tool(t, "e2fsck", "-fn", back)
	if out, err := exec.Command("qemu-img", "compare", "-f", "raw", "-F", "raw", s.uri(restored), s.uri(id)).CombinedOutput(); err == nil {
		t.Errorf("the volume that was overwritten equals its snapshot: %s", out)
	}
	tool(t, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", s.uri(restored), s.uri(id))
	tool(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", s.uri(restored), s.uri(id))
	s.Stop()
}

// TestNBDLifecycle extends, detaches and cuts off, and lets only the right server
// in.
func TestNBDLifecycle(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: runs the program")
	}
	needTools(t, "nbdinfo")
	s := newSite(t, nil, [2]string{"web-1", "127.0.0.1"}, [2]string{"web-2", "127.0.0.2, 10.0.0.0/8"})
	id := s.newVolume("disk")
	volume := views.VolumesPath + "/" + id
	s.attach(id, "web-1")
	c, err := s.raw("127.0.0.1", id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.raw("127.0.0.2", id); !errors.Is(err, backendtest.ErrNBDUnknown) {
		t.Errorf("another registered server: %v", err)
	}
	if _, err := s.raw("127.0.0.3", id); err == nil || errors.Is(err, backendtest.ErrNBDUnknown) {
		t.Errorf("a server that nobody registered is answered: %v", err)
	}
	s.done(volume+"/extend", "size_gib", "2")
	if got := strings.TrimSpace(tool(t, "nbdinfo", "--size", s.uri(id))); got != fmt.Sprint(2*gib) {
		t.Errorf("after extending, nbdinfo: %s bytes", got)
	}
	apptest.WantStatus(t, s.post(volume+"/delete"), http.StatusConflict)

	a := s.api.Ask(volume+"/detach", "server_id", s.servers["web-1"])
	eventually(t, "detaching", func() bool { return s.status(id) == "DETACHING" })
	if _, err := c.WriteAt([]byte("finishing"), 4096); err != nil {
		t.Error(err)
	}
	eventually(t, "nobody new is let in", func() bool {
		late, err := s.raw("127.0.0.1", id)
		if err == nil {
			late.Close()
		}
		return errors.Is(err, backendtest.ErrNBDUnknown)
	})
	c.Close()
	eventually(t, "detached", func() bool {
		var op apptest.Operation
		s.api.Read("/activity/"+a.Operation, &op)
		return op.State == "SUCCEEDED" && s.status(id) == "AVAILABLE"
	})
	s.wantUnknown(id)

	s.attach(id, "web-2")
	if c, err = s.raw("127.0.0.2", id); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 9)
	if _, err := c.ReadAt(got, 4096); err != nil || string(got) != "finishing" {
		t.Errorf("%q, %v", got, err)
	}
	s.done(volume+"/detach", "server_id", s.servers["web-2"], "force", "1")
	if err := c.Ended(); err != nil {
		t.Error(err)
	}
	s.wantCutOff(id)
	s.done(volume + "/delete")
}

// wantCutOff checks that a server whose address is taken away stops writing within a
// second, and delays no detachment.
func (s *site) wantCutOff(id string) {
	s.t.Helper()
	s.attach(id, "web-1")
	c, err := s.raw("127.0.0.1", id)
	if err != nil {
		s.t.Fatal(err)
	}
	detaching := s.api.Ask(views.VolumesPath+"/"+id+"/detach", "server_id", s.servers["web-1"])
	eventually(s.t, "detaching", func() bool { return s.status(id) == "DETACHING" })
	ended := make(chan time.Time, 1)
	go func() {
		for err == nil {
			_, err = c.WriteAt([]byte("on and on"), 0)
		}
		ended <- time.Now()
	}()
	apptest.WantStatus(s.t, s.post(views.ServersPath+"/"+s.servers["web-1"], "name", "web-1", "address", "127.0.0.7"), http.StatusOK)
	saved := time.Now()
	if took := (<-ended).Sub(saved); took > time.Second {
		s.t.Errorf("cut off after %s", took)
	}
	eventually(s.t, "detached", func() bool {
		var op apptest.Operation
		s.api.Read("/activity/"+detaching.Operation, &op)
		return op.State == "SUCCEEDED" && s.status(id) == "AVAILABLE"
	})
}

// TestNBDSurvivesKill kills the program while a server writes.
func TestNBDSurvivesKill(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: kills the program")
	}
	needTools(t, "nbdcopy", "mkfs.ext4", "qemu-io")
	s := newSite(t, nil, [2]string{"web-1", "127.0.0.1"})
	image, size := fileSystem(t)
	id := s.newVolume("disk")
	s.attach(id, "web-1")
	tool(t, "nbdcopy", "--flush", image, s.uri(id))
	c, err := s.raw("127.0.0.1", id)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan int)
	go func() { // beside the image, until the connection breaks
		n := 0
		for ; ; n++ {
			if _, err := c.WriteAt([]byte("block"), size+int64(n)*4096); err != nil {
				break
			}
		}
		ended <- n
	}()
	eventually(t, "writing", func() bool {
		var list struct {
			Connections []struct {
				BytesWritten int64 `json:"bytes_written"`
			}
		}
		s.api.Read(views.VolumesPath+"/"+id, &list)
		return len(list.Connections) == 1 && list.Connections[0].BytesWritten > 0
	})
	s.Kill()
	n := <-ended
	s.start()
	if got := s.status(id); got != "IN-USE" {
		t.Errorf("after the kill: %s", got)
	}
	back := filepath.Join(t.TempDir(), "back")
	tool(t, "nbdcopy", s.uri(id), back)
	if got, want := hashOf(t, back, size), hashOf(t, image, size); got != want {
		t.Errorf("%s came back, %s went in", got, want)
	}
	f, err := os.Open(back)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range n {
		var block [5]byte
		if _, err := f.ReadAt(block[:], size+int64(i)*4096); err != nil || string(block[:]) != "block" {
			t.Fatalf("block %d of %d that were answered: %q, %v", i, n, block, err)
		}
	}
	s.Stop()
}

// TestNBDOverTLS has two servers at one address, which only certificates tell apart.
func TestNBDOverTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: runs the program")
	}
	needTools(t, "nbdinfo", "qemu-img")
	a := backendtest.NewAuthority(t)
	files := a.Folder("server", a.Server())
	s := newSite(t, []string{"NBD_TLS_CERT=" + files + "/server-cert.pem",
		"NBD_TLS_KEY=" + files + "/server-key.pem", "NBD_TLS_CA=" + files + "/ca-cert.pem"},
		[2]string{"web-1", "127.0.0.1"}, [2]string{"web-2", "127.0.0.1"})
	id := s.newVolume("disk")
	s.attach(id, "web-1")
	own, other := a.Folder("client", a.Client("web-1")), a.Folder("client", a.Client("web-2", "web-20"))
	secure := func(folder string) string { return "nbds://" + s.nbd + "/" + id + "?tls-certificates=" + folder }
	if got := strings.TrimSpace(tool(t, "nbdinfo", "--size", secure(own))); got != fmt.Sprint(gib) {
		t.Errorf("nbdinfo: %s bytes", got)
	}
	host, port, _ := strings.Cut(s.nbd, ":")
	tool(t, "qemu-img", "info", "--object", "tls-creds-x509,id=tls0,endpoint=client,dir="+own,
		"--image-opts", "driver=nbd,host="+host+",port="+port+",export="+id+",tls-creds=tls0")
	for name, uri := range map[string]string{"the other server": secure(other), "without TLS": s.uri(id)} {
		if out, err := exec.CommandContext(t.Context(), "nbdinfo", "--size", uri).CombinedOutput(); err == nil {
			t.Errorf("%s: let in: %s", name, out)
		}
	}
	if list := tool(t, "nbdinfo", "--list", "nbds://"+s.nbd+"/?tls-certificates="+own); !strings.Contains(list, id) {
		t.Errorf("listed %s", list)
	}
	if out, _ := exec.CommandContext(t.Context(), "nbdinfo", "--list", "nbds://"+s.nbd+"/?tls-certificates="+other).CombinedOutput(); strings.Contains(string(out), id) {
		t.Errorf("listed for the other server: %s", out)
	}
	s.Stop()
}
