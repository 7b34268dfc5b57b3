package web

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
)

// servers are those registered in the store, as the backend asks for them.
func registered(store *store.Store) func(ctx context.Context) ([]backend.RegisteredServer, error) {
	return func(ctx context.Context) ([]backend.RegisteredServer, error) {
		rows, err := store.Servers.RegisteredServers(ctx)
		var all []backend.RegisteredServer
		for _, r := range rows {
			all = append(all, backend.RegisteredServer{ID: r.ID, Name: r.Name, Addresses: r.Addresses()})
		}
		return all, err
	}
}

// newExportBoard is a board whose backend serves volumes itself.
func newExportBoard(t *testing.T, protocol string) *board {
	t.Helper()
	b := newBoard(t)
	b.fake.Serve(protocol, "0.0.0.0:10809", registered(b.store))
	b.start()
	return b
}

func (b *board) start() {
	b.t.Helper()
	if err := b.mirror.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// server registers one.
func (b *board) server(name, address string) *models.Server {
	b.t.Helper()
	row, err := b.store.Servers.AddServer(b.t.Context(), storetest.Administrator(), models.ServerInput{Name: name, Address: address})
	if err != nil {
		b.t.Fatal(err)
	}
	return row
}

// attachedTo makes a volume that is attached to the server, and returns it with
// the operation.
func (b *board) attachedTo(name string, s *models.Server) (*models.Volume, *models.Operation) {
	b.t.Helper()
	v := b.volume(name, "1")
	op, err := b.store.Volumes.AttachVolume(b.t.Context(), storetest.Operator(), v.ID, s.ID, "")
	if err != nil {
		b.t.Fatal(err)
	}
	b.work()
	return b.volumeNow(v.ID), op
}

// connect lets a client connect, and the console see it.
func (b *board) connect(v *models.Volume, s *models.Server, address string) string {
	b.t.Helper()
	id := b.fake.Connect(v.ID, s.ID, address)
	b.lookWho()
	return id
}

func (b *board) lookWho() {
	b.t.Helper()
	if err := b.mirror.SyncConnections(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func TestAdministratorRegistersServers(t *testing.T) {
	b := newExportBoard(t, "nbd")
	admin := b.as(models.Administrator)
	wantText(t, admin.get(views.ServersPath), "main .empty", "등록된 서버가 없습니다")
	bad := form("name", "web 1", "address", "10.0.0.5/8", "form_key", "k")
	for _, headers := range [][]string{nil, htmx} {
		a := admin.post(views.ServersPath, bad, headers...)
		wantStatus(t, a, http.StatusUnprocessableEntity)
		wantFieldError(t, a, "name", "1자 이상 64자 이내")
		wantFieldError(t, a, "address", "10.0.0.0/8")
		for field, want := range map[string]string{"name": "web 1", "address": "10.0.0.5/8", "form_key": "k"} {
			if got := a.doc(t).Find("#popup-form input[name="+field+"]").AttrOr("value", ""); got != want {
				t.Errorf("%s holds %q", field, got)
			}
		}
	}
	if body := wrong(t, admin.post(views.ServersPath, bad, asJS...), http.StatusUnprocessableEntity); len(body.Error.Fields) != 2 {
		t.Errorf("JSON says %+v", body.Error)
	}
	good := form("name", "web-1", "address", "10.0.0.5, 10.1.0.0/24", "form_key", "k2")
	a := admin.post(views.ServersPath, good)
	wantStatus(t, a, http.StatusSeeOther)
	if a.Header.Get("Location") != views.ServersPath {
		t.Errorf("leads to %s", a.Header.Get("Location"))
	}
	wantText(t, admin.get(views.ServersPath), "#messages", "web-1")
	a = admin.post(views.ServersPath, form("name", "web-1", "address", "10.0.0.6"), b.fromList(views.ServersPath)...)
	wantStatus(t, a, http.StatusUnprocessableEntity)
	wantFieldError(t, a, "name", "이미 등록된")
	a = admin.post(views.ServersPath, form("name", "db-1", "address", "10.1.0.7"), b.fromList(views.ServersPath)...)
	wantStatus(t, a, http.StatusOK)
	if events := a.Header.Get("HX-Trigger"); !strings.Contains(events, "popup:close") || !strings.Contains(events, "list:refresh") {
		t.Errorf("fires %s", events)
	}
	page := admin.get(views.ServersPath)
	wantText(t, page, "main .callout-warn", "TLS")
	for _, other := range []string{"web-1", "db-1"} {
		if !strings.Contains(page.doc(t).Find("main .badge-crash").Text(), other) {
			t.Errorf("the page does not say that %s shares its address", other)
		}
	}
	a = admin.post(views.ServersPath, form("name", "api", "address", "2001:db8::5"), asJS...)
	wantStatus(t, a, http.StatusCreated)
	var list struct{ Items []serverItem }
	if err := json.Unmarshal([]byte(admin.get(views.ServersPath, asJS...).body), &list); err != nil || len(list.Items) != 3 || list.Items[2].Addresses[1] != "10.1.0.0/24" {
		t.Errorf("%+v %v", list, err)
	}
	wantStatus(t, admin.get(a.Header.Get("Location"), asJS...), http.StatusOK)
	wantText(t, admin.get("/admin/audit"), "main table", "서버 등록")
	wantStatus(t, b.get(views.ServersPath), http.StatusForbidden)
}

type serverItem struct {
	ID, Name  string
	Addresses []string
	Volumes   int
}

func TestServersAreEditedAndRemoved(t *testing.T) {
	b := newExportBoard(t, "nbd")
	admin := b.as(models.Administrator)
	s := b.server("web-1", "10.0.0.5")
	path := views.ServersPath + "/" + s.ID
	for _, popup := range []string{views.ServersPath + "/new", path, path + "/delete"} {
		page, fragment := admin.get(popup), admin.get(popup, "HX-Request", "true", "HX-Current-URL", b.URL+popup)
		if !strings.Contains(steady(page.body), steady(fragment.body)) || fragment.doc(t).Find("body > #popup-form h1#popup-title").Length() != 1 {
			t.Errorf("%s: the fragment is not a part of the page:\n%s", popup, fragment.body)
		}
	}
	wantStatus(t, admin.post(path, form("name", "web-2", "address", "10.0.0.6", "version", "1")), http.StatusSeeOther)
	a := admin.post(path, form("name", "web-3", "address", "10.0.0.7", "version", "1"))
	wantStatus(t, a, http.StatusConflict)
	wantText(t, a, "#popup-form .callout-warn", "web-2")
	if got := a.doc(t).Find("input[name=version]").AttrOr("value", ""); got != "2" {
		t.Errorf("the form has version %s", got)
	}
	v, _ := b.attachedTo("data-1", s)
	popup := admin.get(path + "/delete")
	wantText(t, popup, "#popup-form .blockers a[href='"+volumePath(v, "")+"']", "data-1")
	wantNone(t, popup, "#popup-form form[method=post]")
	a = admin.post(path+"/delete", nil, htmx...)
	wantStatus(t, a, http.StatusConflict)
	wantText(t, a, "#popup-form .blockers a", "data-1")
	wrong(t, admin.post(path+"/delete", nil, asJS...), http.StatusConflict)
	if _, err := b.store.Volumes.DetachVolume(t.Context(), storetest.Operator(), v.ID, s.ID, false, ""); err != nil {
		t.Fatal(err)
	}
	b.work()
	wantStatus(t, admin.post(path+"/delete", nil), http.StatusSeeOther)
	wantStatus(t, admin.get(path), http.StatusNotFound)
	wantStatus(t, admin.post(path+"/delete", nil), http.StatusNotFound)
}

func TestServersOfTheBackendAreForReading(t *testing.T) {
	b := newBoard(t)
	admin := b.as(models.Administrator)
	page := admin.get(views.ServersPath)
	wantText(t, page, "main .inline-note", "저장소가 관리하는 서버")
	wantText(t, page, "main table", "web-1")
	wantNone(t, page, "main .toolbar, main td.c-do")
	for _, popup := range []string{"/new", "/server-1", "/server-1/delete"} {
		a := admin.get(views.ServersPath + popup)
		wantStatus(t, a, http.StatusOK)
		wantNone(t, a, "main form[method=post]")
	}
	for _, path := range []string{"", "/server-1", "/server-1/delete"} {
		a := admin.post(views.ServersPath+path, form("name", "mine", "address", "10.0.0.5"), asJS...)
		if body := wrong(t, a, http.StatusConflict); body.Error.Code != string(models.CodeUnsupported) {
			t.Errorf("%s: %+v", path, body.Error)
		}
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

// TestCommandsOfAnAttachedVolume: on its page and on that of the operation that
// attached it, as long as it is attached.
func TestCommandsOfAnAttachedVolume(t *testing.T) {
	for protocol, want := range map[string]string{"nbd": plainCommands, "nbds": tlsCommands} {
		t.Run(protocol, func(t *testing.T) {
			b := newExportBoard(t, protocol)
			b.web.site.ExportHost = "192.0.2.7"
			s := b.server("web-1", "10.0.0.5")
			v, op := b.attachedTo("data-1", s)
			for _, path := range []string{volumePath(v, ""), "/activity/" + op.ID} {
				var got []string
				buttons := b.get(path).doc(t).Find(".command button[data-copy]")
				for i := range buttons.Length() {
					got = append(got, buttons.Eq(i).AttrOr("data-copy", ""))
				}
				if text := strings.Join(got, "|"); text != strings.ReplaceAll(want, "ID", v.ID) {
					t.Errorf("%s:\n%s", path, text)
				}
			}
			if _, err := b.store.Volumes.DetachVolume(t.Context(), storetest.Operator(), v.ID, s.ID, false, ""); err != nil {
				t.Fatal(err)
			}
			b.work()
			for _, path := range []string{volumePath(v, ""), "/activity/" + op.ID} {
				wantNone(t, b.get(path), ".command")
			}
		})
	}
}

// TestThePageSaysWhoUsesTheVolume, and the popups with it.
func TestThePageSaysWhoUsesTheVolume(t *testing.T) {
	b := newExportBoard(t, "nbds")
	s := b.server("web-1", "10.0.0.5")
	v, _ := b.attachedTo("data-1", s)
	page := b.get(volumePath(v, ""))
	wantText(t, page, ".server-line .st", "접속 없음")
	wantNone(t, page, ".clients")
	popup := b.get(volumePath(v, "snapshots/new"))
	wantText(t, popup, "#popup-form [data-use=never]", "아직 아무도 접속하지 않았습니다")
	wantNone(t, popup, "[data-hold]")
	wantText(t, b.get(volumePath(v, "detach")), "#popup-form [role=note]", "바로 연결이 해제됩니다")

	c := b.connect(v, s, "10.0.0.5:43210")
	b.fake.Transfer(c, 3<<30, 512)
	b.fake.SetHold(v.ID, 120*time.Millisecond)
	b.lookWho()
	page = b.get(volumePath(v, ""))
	wantText(t, page, ".server-line .st", "접속 중")
	for _, text := range []string{"10.0.0.5:43210", "web-1", "3 GiB", "512 B"} {
		wantText(t, page, ".clients tbody tr", text)
	}
	popup = b.get(volumePath(v, "snapshots/new"))
	wantText(t, popup, "#popup-form [data-use=connected]", "10.0.0.5:43210")
	wantText(t, popup, "#popup-form [data-hold]", "120 ms")
	a := b.post(volumePath(v, "snapshots"), form("name", "snap-1"))
	wantStatus(t, a, http.StatusUnprocessableEntity)
	wantFieldError(t, a, "acknowledge", "확인")
	snap := b.snapshot(v, "snap-2")
	wantText(t, b.get(snapshotPath(snap, "")), "main .facts", "120 ms")

	var detail struct {
		Export      map[string]string
		Connections []struct {
			Address   string
			BytesRead int64 `json:"bytes_read"`
		}
	}
	if err := json.Unmarshal([]byte(b.get(volumePath(v, ""), asJS...).body), &detail); err != nil ||
		len(detail.Connections) != 1 || detail.Connections[0].BytesRead != 3<<30 || !strings.HasPrefix(detail.Export["uri"], "nbds://") {
		t.Errorf("%+v %v", detail, err)
	}
	b.fake.SetDiskFault(v.ID, &backend.Error{Code: backend.CodeFault, Op: "flush"})
	b.lookWho()
	wantText(t, b.get(volumePath(v, "")), "main .detail-callout", "디스크 오류")
}

// TestDetachingNamesWhoHoldsIt: the popup before, the row and the page while it
// waits, and the popup that cuts off.
func TestDetachingNamesWhoHoldsIt(t *testing.T) {
	b := newExportBoard(t, "nbd")
	s := b.server("web-1", "10.0.0.5")
	v, _ := b.attachedTo("data-1", s)
	b.connect(v, s, "10.0.0.5:43210")
	popup := b.get(volumePath(v, "detach"))
	wantText(t, popup, "#popup-form .blockers", "web-1 10.0.0.5:43210")
	wantText(t, popup, "#popup-form .tick", "접속 중인 클라이언트를 끊고 연결 해제")
	accepted(t, b.post(volumePath(v, "detach"), form("server_id", s.ID), asJS...))
	for range 3 {
		if _, err := b.worker.RunDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.clock.Add(time.Second)
	}
	if now := b.volumeNow(v.ID); now.Status != models.Detaching {
		t.Fatalf("it is %s", now.Status)
	}
	wantText(t, b.get(views.VolumesPath), "tr#volume-"+v.ID+" .note", "10.0.0.5:43210")
	wantText(t, b.get(volumePath(v, "")), "main .detail-callout", "10.0.0.5:43210")
	wantText(t, b.get(volumePath(v, "detach")), "#popup-form [role=note]", "이미 클라이언트가")
	a := b.post(volumePath(v, "detach"), form("server_id", s.ID))
	wantStatus(t, a, http.StatusUnprocessableEntity)
	wantFieldError(t, a, "force", "기다리지 않으려면")
	accepted(t, b.post(volumePath(v, "detach"), form("server_id", s.ID, "force", "1"), asJS...))
	b.work()
	if now := b.volumeNow(v.ID); now.Status != models.Available {
		t.Errorf("it is %s", now.Status)
	}
}

// TestServersOfAllProjects: each says whose it is, and a volume is offered those of
// its own project.
func TestServersOfAllProjects(t *testing.T) {
	c := newConsole(t, "ALL_PROJECTS=true", "BACKEND=openstack")
	c.store.SetCapabilities(models.Capabilities{Attach: true, Name: "openstack", FreeBytes: -1,
		Project: models.Project{ID: ownProject, Name: "lab"}, Projects: []models.Project{{ID: ownProject, Name: "lab"}}})
	now := c.clock.Now()
	servers := []models.Server{{ID: "s-web", Name: "web", ProjectID: ownProject, Version: 1}, {ID: "s-db", Name: "db", ProjectID: otherProject, Version: 1}}
	if err := c.store.Sync.SyncServers(t.Context(), servers); err != nil {
		t.Fatal(err)
	}
	if _, err := c.store.Sync.UpsertVolumes(t.Context(), []store.ObservedObject{{BackendID: "v-theirs", Project: otherProject, Name: "data", SizeGiB: 2, CreatedAt: now,
		ObservedState: store.ObservedState{Status: models.Available, Percent: -1}}}, now); err != nil {
		t.Fatal(err)
	}
	list := c.as(models.Administrator).get(views.ServersPath)
	wantText(t, list, "#server-s-web .c-project", "lab")
	wantText(t, list, "#server-s-db .c-project", otherProject)
	b := c.as(models.Operator)
	for path, want := range map[string]string{views.VolumesPath + "/v-theirs/attach": "s-db", views.VolumesPath + "/new": "s-web"} {
		a := b.get(path)
		if ids := a.doc(t).Find("select[name=server_id] option[value^=s-]"); ids.Length() != 1 || ids.AttrOr("value", "") != want {
			t.Errorf("%s offers %d servers, %q", path, ids.Length(), ids.AttrOr("value", ""))
		}
	}
}
