package handlers_test

import (
	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// attachedTo makes a volume that is attached to the server, and returns it with
// the operation.
func (c *console) attachedTo(name string, s *models.Server) (*models.Volume, *models.Operation) {
	c.t.Helper()
	v := c.NewVolume(name, 1)
	op, err := c.Store.Volumes.AttachVolume(c.t.Context(), storetest.Operator(), v.ID, s.ID, "")
	if err != nil {
		c.t.Fatal(err)
	}
	c.Work()
	return c.Volume(v.ID), op
}

// connect lets a client connect, and the console see it.
func (c *console) connect(v *models.Volume, s *models.Server, address string) string {
	c.t.Helper()
	id := c.Fake.Connect(v.ID, s.ID, address)
	c.lookWho()
	return id
}

func (c *console) lookWho() {
	c.t.Helper()
	if err := c.Mirror.SyncConnections(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

const plainCommands = `sudo modprobe nbd
sudo nbd-client 192.0.2.7 10809 /dev/nbd0 -name ID|qemu-system-x86_64 -drive file=nbd://192.0.2.7:10809/ID,format=raw,if=virtio,discard=unmap|<disk type='network' device='disk'>
  <driver name='qemu' type='raw' discard='unmap'/>
  <source protocol='nbd' name='ID'>
    <host name='192.0.2.7' port='10809'/>
  </source>
  <target dev='vdb' bus='virtio'/>
</disk>`

const tlsCommands = `sudo modprobe nbd
sudo nbd-client 192.0.2.7 10809 /dev/nbd0 -name ID -certfile /etc/pki/qemu/client-cert.pem -keyfile /etc/pki/qemu/client-key.pem -cacertfile /etc/pki/qemu/ca-cert.pem -tlshostname 192.0.2.7|` +
	`qemu-system-x86_64 -object tls-creds-x509,id=tls0,endpoint=client,dir=/etc/pki/qemu -drive file.driver=nbd,file.server.type=inet,` +
	`file.server.host=192.0.2.7,file.server.port=10809,file.export=ID,file.tls-creds=tls0,format=raw,if=virtio,discard=unmap|<disk type='network' device='disk'>
  <driver name='qemu' type='raw' discard='unmap'/>
  <source protocol='nbd' name='ID' tls='yes'>
    <host name='192.0.2.7' port='10809'/>
  </source>
  <target dev='vdb' bus='virtio'/>
</disk>`

// TestExport_Commands: on its page and on that of the operation that
// attached it, as long as it is attached.
func TestExport_Commands(t *testing.T) {
	t.Parallel()
	for protocol, want := range map[string]string{"nbd": plainCommands, "nbds": tlsCommands} {
		t.Run(protocol, func(t *testing.T) {
			c := newExportConsole(t, protocol, "NBD_ADDR=192.0.2.7:10809")
			s := c.server("web-1", "10.0.0.5")
			v, op := c.attachedTo("data-1", s)
			for _, path := range []string{apptest.VolumePath(v.ID), "/activity/" + op.ID} {
				var got []string
				buttons := c.Get(path).Doc(t).Find(".command button[data-copy]")
				for i := range buttons.Length() {
					got = append(got, buttons.Eq(i).AttrOr("data-copy", ""))
				}
				if text := strings.Join(got, "|"); text != strings.ReplaceAll(want, "ID", v.ID) {
					t.Errorf("%s:\n%s", path, text)
				}
			}
			if _, err := c.Store.Volumes.DetachVolume(t.Context(), storetest.Operator(), v.ID, s.ID, false, ""); err != nil {
				t.Fatal(err)
			}
			c.Work()
			for _, path := range []string{apptest.VolumePath(v.ID), "/activity/" + op.ID} {
				apptest.WantNone(t, c.Get(path), ".command")
			}
		})
	}
}

// TestExport_Connections, and the popups with it.
func TestExport_Connections(t *testing.T) {
	t.Parallel()
	c := newExportConsole(t, "nbds")
	s := c.server("web-1", "10.0.0.5")
	v, _ := c.attachedTo("data-1", s)
	page := c.Get(apptest.VolumePath(v.ID))
	apptest.WantText(t, page, ".server-line .st", "접속 없음")
	apptest.WantNone(t, page, ".clients")
	popup := c.Get(apptest.VolumePath(v.ID, "snapshots/new"))
	apptest.WantText(t, popup, "#popup-form [data-use=never]", "아직 아무도 접속하지 않았습니다")
	apptest.WantNone(t, popup, "[data-hold]")
	apptest.WantText(t, c.Get(apptest.VolumePath(v.ID, "detach")), "#popup-form [role=note]", "바로 연결이 해제됩니다")

	conn := c.connect(v, s, "10.0.0.5:43210")
	c.Fake.Transfer(conn, 3<<30, 512)
	c.Fake.SetHold(v.ID, 120*time.Millisecond)
	c.lookWho()
	page = c.Get(apptest.VolumePath(v.ID))
	apptest.WantText(t, page, ".server-line .st", "접속 중")
	for _, text := range []string{"10.0.0.5:43210", "web-1", "3 GiB", "512 B"} {
		apptest.WantText(t, page, ".clients tbody tr", text)
	}
	popup = c.Get(apptest.VolumePath(v.ID, "snapshots/new"))
	apptest.WantText(t, popup, "#popup-form [data-use=connected]", "10.0.0.5:43210")
	apptest.WantText(t, popup, "#popup-form [data-hold]", "그 순간 서버의 쓰기는 약 120 ms 기다렸다가 이어집니다.")
	apptest.WantText(t, popup, "#popup-form [role=alert]", "전원이 갑자기 꺼졌다 켜진 것과 같은 디스크")
	english := c.Get(apptest.VolumePath(v.ID, "snapshots/new"), "Accept-Language", "en")
	apptest.WantText(t, english, "#popup-form [data-hold]", "At that instant the servers’ writes wait for about 120 ms")
	apptest.WantText(t, english, "#popup-form [role=alert]", "every block as it is at one instant")
	a := c.Post(apptest.VolumePath(v.ID, "snapshots"), apptest.Form("name", "snap-1"))
	apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
	apptest.WantFieldError(t, a, "acknowledge", "확인")
	snap := c.NewSnapshot(v, "snap-2")
	apptest.WantText(t, c.Get(apptest.SnapshotPath(snap.ID)), "main .facts", "120 ms")

	var detail struct {
		Export      map[string]string
		Connections []struct {
			Address   string
			BytesRead int64 `json:"bytes_read"`
		}
	}
	if err := json.Unmarshal([]byte(c.Get(apptest.VolumePath(v.ID), apptest.AsJSON...).Body), &detail); err != nil ||
		len(detail.Connections) != 1 || detail.Connections[0].BytesRead != 3<<30 || !strings.HasPrefix(detail.Export["uri"], "nbds://") {
		t.Errorf("%+v %v", detail, err)
	}
	c.Fake.SetDiskFault(v.ID, &backend.Error{Code: backend.CodeFault, Op: "flush"})
	c.lookWho()
	apptest.WantText(t, c.Get(apptest.VolumePath(v.ID)), "main .detail-callout", "디스크 오류")
}

// TestDetach_ClientConnected: the popup before, the row and the page while it
// waits, and the popup that cuts off.
func TestDetach_ClientConnected(t *testing.T) {
	t.Parallel()
	c := newExportConsole(t, "nbd")
	s := c.server("web-1", "10.0.0.5")
	v, _ := c.attachedTo("data-1", s)
	c.connect(v, s, "10.0.0.5:43210")
	popup := c.Get(apptest.VolumePath(v.ID, "detach"))
	apptest.WantText(t, popup, "#popup-form .blockers", "web-1 10.0.0.5:43210")
	apptest.WantText(t, popup, "#popup-form .tick", "접속 중인 클라이언트를 끊고 연결 해제")
	apptest.WantAccepted(t, c.Post(apptest.VolumePath(v.ID, "detach"), apptest.Form("server_id", s.ID), apptest.AsJSON...))
	for range 3 {
		if _, err := c.Worker.RunDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Clock.Add(time.Second)
	}
	if now := c.Volume(v.ID); now.Status != models.Detaching {
		t.Fatalf("it is %s", now.Status)
	}
	apptest.WantText(t, c.Get(views.VolumesPath), "tr#volume-"+v.ID+" .note", "10.0.0.5:43210")
	apptest.WantText(t, c.Get(apptest.VolumePath(v.ID)), "main .detail-callout", "10.0.0.5:43210")
	apptest.WantText(t, c.Get(apptest.VolumePath(v.ID, "detach")), "#popup-form [role=note]", "이미 클라이언트가")
	a := c.Post(apptest.VolumePath(v.ID, "detach"), apptest.Form("server_id", s.ID))
	apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
	apptest.WantFieldError(t, a, "force", "기다리지 않으려면")
	apptest.WantAccepted(t, c.Post(apptest.VolumePath(v.ID, "detach"), apptest.Form("server_id", s.ID, "force", "1"), apptest.AsJSON...))
	c.Work()
	if now := c.Volume(v.ID); now.Status != models.Available {
		t.Errorf("it is %s", now.Status)
	}
}
