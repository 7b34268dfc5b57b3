package views_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"

	"blockconsole/views"
)

func usedServers() []views.AttachedServer {
	return []views.AttachedServer{
		{Server: views.Link{ID: "srv-1", Name: "db-primary"}, Use: "connected", UsedAt: us(time.Hour), Clients: []views.Client{
			{ID: "1", Address: "10.0.0.5:43210", Identity: "db-primary", Since: us(time.Hour), ActiveAt: us(time.Second), Read: 3 << 30, Written: 123456},
			{ID: "2", Address: "[2001:db8:ffff:ffff:ffff:ffff:ffff:5]:65535", Identity: hostile, Since: us(time.Minute), ActiveAt: us(time.Minute)}}},
		{Server: views.Link{ID: "srv-2", Name: "db-standby"}, Use: "never"},
		{Server: views.Link{ID: "srv-3", Name: strings.Repeat("long-name-of-a-server.", 2)}, Use: "idle", UsedAt: us(40 * time.Minute)},
	}
}

func clientsOf(n int) []views.ServerClient {
	c := []views.ServerClient{{Kind: "volume", Object: views.Link{ID: uid(901), Name: longName}, Address: "[2001:db8:ffff:ffff:ffff:ffff:ffff:5]:65535", Identity: hostile}}
	return append(c, slices.Repeat([]views.ServerClient{{Kind: "snapshot", Object: views.Link{ID: uid(900), Name: "db-main"}, Address: "10.0.0.5:43210", Identity: "CN=web-1"}}, n-1)...)
}

func exported(tls bool) *views.Export {
	e := &views.Export{Host: "storage.example.com", Port: "10809", Name: uid(900), TLS: tls, URI: "nbd://storage.example.com:10809/" + uid(900), ThisMachine: !tls,
		Commands: []views.Command{{Tool: "nbd-client", Text: "sudo modprobe nbd\nsudo nbd-client storage.example.com 10809 /dev/nbd0 -name " + uid(900)},
			{Tool: "qemu-system", Text: "qemu-system-x86_64 -drive file=nbd://storage.example.com:10809/" + uid(900) + ",format=raw,if=virtio"},
			{Tool: "libvirt", Text: "<disk type='network' device='disk'>\n  <source protocol='nbd' name='" + uid(900) + "'/>\n</disk>"}}}
	return e
}

func serverScenarios() []scenario {
	admin, onVolumes := active("servers", views.ServersPath), active("volumes", views.VolumesPath)
	row := volumeRows()[0]
	row.Status, row.Note, row.Failure.Reason = "DETACHING", msg("volume.held_by", "10.0.0.5:43210"), msg("failure.disk_flush")
	rows := []views.ServerRow{
		{ID: uid(1), Name: "web-1", Addresses: []string{"10.0.0.5", "10.1.0.0/24", "2001:db8::5"}, Volumes: 2, Snapshots: 3, SharedWith: []views.Link{{ID: uid(2), Name: "db-1"}}, CreatedAt: us(time.Hour), CreatedBy: "admin"},
		{ID: uid(2), Name: "db-1", Addresses: []string{"10.0.0.0/8"}, SharedWith: []views.Link{{ID: uid(1), Name: "web-1"}}, CreatedAt: us(time.Hour)},
		{ID: uid(3), Name: strings.Repeat("a.b-c_d", 9), Addresses: strings.Fields(strings.Repeat("2001:db8:ffff:ffff:ffff:ffff:ffff:5/128 ", 9)), CreatedAt: us(time.Hour)},
	}
	stale := formWithErrors("/x", "form")
	stale.Version = 3
	bad := form("/x")
	bad.Errors = map[string]views.Message{"name": msg("server.name_taken"), "address": msg("server.address_host_bits", "10.0.0.5/8", "10.0.0.5", "10.0.0.0/8")}
	kept := form("/x")
	kept.Denial = &views.Denial{Reason: msg("deny.server_attached"), Volumes: []views.Link{{ID: uid(1), Name: "data-1"}}, Guidance: msg("guide.detach_volumes")}
	forced := formWithErrors("/x")
	forced.Errors["force"] = msg("detach.waits")
	attached := *attachedVolume()
	attached.Use, attached.Clients, attached.WritePauseMicros = "connected", []string{"10.0.0.5:43210", "10.0.0.6:43211"}, 1_234_567
	never := attached
	never.Use, never.Clients, never.WritePauseMicros = "never", nil, 0
	servers := []views.Link{{ID: "srv-1", Name: "db-primary"}, {ID: "srv-2", Name: "db-standby"}}
	brief := views.SnapshotBrief{ID: uid(2), Name: "db-before-upgrade", SizeGiB: 2048, Volume: views.Link{ID: uid(901), Name: "db-main"}, Consistency: "crash", TakenAt: us(time.Hour)}
	read := brief
	read.Servers = []string{"db-primary", strings.Repeat("a.b-c_d", 9)}
	onSnapshots := func(f *views.PageContext) {
		active("snapshots", views.SnapshotsPath)(f)
		f.AttachSnapshots = true
	}
	readRows := snapshotRows()
	readRows[0].NoteQuiet = true
	readRows[0].Note = msg("snapshot.read_by", "web-1, "+strings.Repeat("a.b-c_d", 9))
	readRows[1].Note = msg("volume.held_by", "[2001:db8:ffff:ffff:ffff:ffff:ffff:5]:65535")
	leaving := usedServers()[:2]
	leaving[0].Leaving = true
	readOnly := exported(false)
	readOnly.ReadOnly = true
	readOnly.Commands = append(readOnly.Commands, views.Command{Tool: "mount-ext4", Text: "sudo mount -o ro,noload /dev/nbd0 /mnt"}, views.Command{Tool: "mount-xfs", Text: "sudo mount -o ro,norecovery,nouuid /dev/nbd0 /mnt"})
	return []scenario{
		{"snapshots-read", false, onSnapshots, func(t testing.TB, ctx context.Context) templ.Component {
			return views.SnapshotsPage(views.SnapshotList{List: list(views.SnapshotsPath), Rows: renderedSnapshots(t, ctx, readRows)})
		}},
		{"snapshot-read", false, onSnapshots, component(views.SnapshotPage(views.SnapshotDetail{Row: readRows[0], Attached: leaving, Export: readOnly, Deny: readRows[0].Deny}))},
		{"snapshot-attach", true, onSnapshots, component(views.AttachPopup(views.Attach{Form: form("/x"), Snapshot: &read, Servers: servers, RegisteredServers: true}))},
		{"snapshot-attach-all", true, onSnapshots, component(views.AttachPopup(views.Attach{Form: form("/x"), Snapshot: &read, RegisteredServers: true}))},
		{"snapshot-detach", true, onSnapshots, component(views.DetachPopup(views.Detach{Form: form("/x"), Snapshot: &read, Servers: servers, WaitsForClients: true, Attached: leaving}))},
		{"snapshot-detach-nobody", true, onSnapshots, component(views.DetachPopup(views.Detach{Form: form("/x"), Snapshot: &brief, Servers: servers[:1], WaitsForClients: true}))},
		{"snapshot-detach-waiting", true, onSnapshots, component(views.DetachPopup(views.Detach{Form: forced, Snapshot: &read, Servers: servers[:1], WaitsForClients: true, AlreadyWaiting: true, Attached: leaving[:1]}))},
		{"help-read", false, onSnapshots, component(views.HelpPage())},
		{"servers", false, admin, component(views.ServersPage(views.Servers{Registered: true, SharedAddresses: true, Rows: rows}))},
		{"servers-tls", false, admin, component(views.ServersPage(views.Servers{Registered: true, TLS: true, SharedAddresses: true, More: true, Rows: rows}))},
		{"servers-empty", false, admin, component(views.ServersPage(views.Servers{Registered: true}))},
		{"servers-cloud", false, admin, component(views.ServersPage(views.Servers{Rows: []views.ServerRow{{ID: "x", Name: hostile, Status: "ACTIVE", Volumes: 1, CreatedAt: us(time.Hour)}, {ID: "no-name", Status: "SHUTOFF"}}}))},
		{"servers-all", false, admin, component(views.ServersPage(views.Servers{ShowProjects: true, Rows: []views.ServerRow{
			{ID: "5f0c7e1f-a2b8-43d7-a2b8-c3d70193a5c0", Name: "web-1", Status: "ACTIVE", Project: views.Link{ID: "5f0c7e1fa2b8c3d7a2b8c3d70193a5c0", Name: "lab"}, Volumes: 3, CreatedAt: us(time.Hour)},
			{ID: "no-name", Status: "SHUTOFF", Project: views.Link{ID: "77aa7e1fa2b8c3d7a2b8c3d70193a5c0"}}, {ID: "x", Name: hostile, Status: "ERROR", Project: views.Link{ID: "p", Name: longName}}}}))},
		{"volume-used", false, onVolumes, component(views.VolumePage(views.VolumeDetail{Row: volumeRows()[0], Attached: usedServers(), Export: exported(false), Deny: volumeRows()[0].Deny}))},
		{"volume-detaching", false, onVolumes, component(views.VolumePage(views.VolumeDetail{Row: row, Attached: usedServers()[:1], Export: exported(true)}))},
		{"operation-attached", false, active("activity", "/activity/x"), component(views.OperationPage(views.OperationDetail{Row: operationRows()[0], Export: exported(true)}))},
		{"snapshot-damaged", false, active("snapshots", views.SnapshotsPath), component(views.SnapshotPage(views.SnapshotDetail{Row: snapshotRows()[0], ChecksummedAt: us(100 * time.Minute), CheckedAt: us(time.Minute)}))},
		{"snapshot-checked", false, active("snapshots", views.SnapshotsPath), component(views.SnapshotPage(views.SnapshotDetail{Row: snapshotRows()[6], ChecksummedAt: us(100 * time.Minute), CheckedAt: us(time.Minute)}))},
		{"snapshot-check", true, active("snapshots", views.SnapshotsPath), component(views.CheckPopup(views.Check{Form: form(views.SnapshotsPath + "/1/check"),
			Snapshots: []views.SnapshotBrief{{ID: uid(1), Name: hostile, SizeGiB: 100, Damage: snapshotRows()[0].Damage}}}))},
		{"snapshot-check-all", true, active("snapshots", views.SnapshotsPath), component(views.CheckPopup(views.Check{Form: form(views.SnapshotsPath + "/check"), All: true, Count: 1234}))},
		{"snapshot-held", false, active("snapshots", views.SnapshotsPath), component(views.SnapshotPage(views.SnapshotDetail{Row: snapshotRows()[1], TakenFrom: []string{"db-primary"}, WritePauseMicros: 12_345}))},
		{"snapshot-mixed", false, active("snapshots", views.SnapshotsPath), component(views.SnapshotPage(views.SnapshotDetail{Row: snapshotRows()[9], TakenFrom: []string{"db-primary"}}))},
		{"snapshot-not-yet", false, active("snapshots", views.SnapshotsPath), component(views.SnapshotPage(views.SnapshotDetail{Row: snapshotRows()[2]}))},
		{"server-new", true, admin, component(views.ServerPopup(views.ServerForm{Form: bad, Name: "WEB-1", Address: "10.0.0.5/8"}))},
		{"server-edit", true, admin, component(views.ServerPopup(views.ServerForm{Form: stale, ID: uid(1), Name: "web-1", Address: "10.0.0.5", Conflict: &rows[1]}))},
		{"server-edit-clients", true, admin, component(views.ServerPopup(views.ServerForm{Form: form("/x"), ID: uid(1), Name: "web-1", Address: "10.0.0.5", Clients: clientsOf(24)}))},
		{"server-delete", true, admin, component(views.ServerDeletePopup(views.ServerDelete{Form: form("/x"), Row: rows[0]}))},
		{"server-delete-kept", true, admin, component(views.ServerDeletePopup(views.ServerDelete{Form: kept, Row: rows[0]}))},
		{"create-used", true, onVolumes, component(views.SnapshotCreatePopup(views.SnapshotCreate{Form: form("/x"), Volume: &attached, Name: "db-main-1122", OneInstant: true, NeedBytes: -1, FreeBytes: -1}))},
		{"create-never-used", true, onVolumes, component(views.SnapshotCreatePopup(views.SnapshotCreate{Form: form("/x"), Volume: &never, Name: "db-main-1122", NeedBytes: -1, FreeBytes: -1}))},
		{"attach-own", true, onVolumes, component(views.AttachPopup(views.Attach{Form: form("/x"), Volume: attached, Servers: servers, RegisteredServers: true}))},
		{"attach-none-yet", true, onVolumes, component(views.AttachPopup(views.Attach{Form: form("/x"), Volume: never, RegisteredServers: true}))},
		{"detach-waits", true, onVolumes, component(views.DetachPopup(views.Detach{Form: form("/x"), Volume: attached, Servers: servers, WaitsForClients: true, Attached: usedServers()}))},
		{"detach-nobody", true, onVolumes, component(views.DetachPopup(views.Detach{Form: form("/x"), Volume: never, Servers: servers[:1], WaitsForClients: true, Attached: usedServers()[1:2]}))},
		{"detach-waiting", true, onVolumes, component(views.DetachPopup(views.Detach{Form: forced, Volume: attached, Servers: servers[:1], WaitsForClients: true, AlreadyWaiting: true, Attached: usedServers()[:1]}))},
	}
}

// TestSnapshotCreatePopup_ConsistencyText: the caution is always there; the text
// beside it depends on how the storage takes snapshots and who is connected, and a
// long hold is given in ms.
func TestSnapshotCreatePopup_ConsistencyText(t *testing.T) {
	t.Parallel()
	v := *attachedVolume()
	texts := map[string]string{}
	for name, m := range map[string]views.SnapshotCreate{
		"instant, never used": {OneInstant: true, Volume: &views.VolumeBrief{ID: v.ID, Servers: v.Servers, Use: "never", WritePauseMicros: 900_000}},
		"instant, in use":     {OneInstant: true, Volume: &views.VolumeBrief{ID: v.ID, Servers: v.Servers, Use: "connected", Clients: []string{"10.0.0.5:43210"}, WritePauseMicros: 1_234_000}},
		"instant, idle":       {OneInstant: true, Volume: &views.VolumeBrief{ID: v.ID, Servers: v.Servers, Use: "idle", WritePauseMicros: 12_000}},
		"instant, not known":  {OneInstant: true, Volume: &v},
		"cloud":               {Volume: &v},
	} {
		doc := page(t, "ko", frame(), views.SnapshotCreatePopup(m))
		alert := doc.Find("main [role=alert].callout-caution")
		if alert.Find("input[name=acknowledge]").Length() != 1 {
			t.Errorf("%s: no tick", name)
		}
		texts[name] = strings.Join(strings.Fields(alert.Text()), " ")
		if !strings.Contains(texts[name], "Volume이 서버에 연결된 상태에서 Block Snapshot을 생성하면 스냅샷의 데이터가 손상될 수 있습니다.") {
			t.Errorf("%s: the guide's warning is missing in %q", name, texts[name])
		}
	}
	for name, want := range map[string]struct{ has, not string }{
		"instant, never used": {"아직 아무도 접속하지 않았습니다", "기다렸다가"},
		"instant, in use":     {"10.0.0.5:43210", "섞일 수"},
		"instant, idle":       {"쓰기는 약 12 ms 기다렸다가", "섞일 수"},
		"instant, not known":  {"쓰기는 잠깐 기다렸다가", "접속"},
		"cloud":               {"한 순간의 상태(crash-consistent)", "기다렸다가"},
	} {
		if !strings.Contains(texts[name], want.has) || strings.Contains(texts[name], want.not) {
			t.Errorf("%s: %q", name, texts[name])
		}
	}
	if !strings.Contains(texts["instant, in use"], "약 1,234 ms 기다렸다가") || !strings.Contains(texts["instant, in use"], "전원이 갑자기 꺼졌다 켜진") {
		t.Errorf("in use: %q", texts["instant, in use"])
	}
}

// TestVolumePage_CopyCommands: each command has a button with a unique name that
// copies exactly what is shown.
func TestVolumePage_CopyCommands(t *testing.T) {
	t.Parallel()
	e := exported(true)
	doc := page(t, "ko", frame(), views.VolumePage(views.VolumeDetail{Row: volumeRows()[0], Attached: usedServers(), Export: e}))
	buttons := doc.Find(".command button[data-copy]")
	if buttons.Length() != len(e.Commands) || doc.Find(".command pre").Length() != len(e.Commands) {
		t.Fatalf("%d buttons", buttons.Length())
	}
	for i, c := range e.Commands {
		if got := buttons.Eq(i).AttrOr("data-copy", ""); got != c.Text || doc.Find(".command pre").Eq(i).Text() != c.Text {
			t.Errorf("%s: copies %q", c.Tool, got)
		}
	}
	seen := map[string]bool{}
	for _, name := range names(buttons) {
		if seen[name] {
			t.Errorf("two buttons are named %q", name)
		}
		seen[name] = true
	}
}
