package browsertest

import (
	"context"

	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
)

// readerWords are what the pages say of snapshots that servers read, word for word.
type readerWords struct {
	attach, title, detachment, read, journal, inUse, cutOff, leaving string
}

var readerWordsOf = map[string]readerWords{
	"ko": {attach: "연결 (읽기 전용)", title: "Block Snapshot 연결 (읽기 전용)", detachment: "Block Snapshot 연결 해제", read: "읽기 전용: ", journal: "저널을 재생하지 않습니다",
		inUse: "서버에 연결되어 있습니다. 먼저 연결을 해제하세요.", cutOff: "접속 중인 클라이언트를 끊고 연결 해제", leaving: "연결 해제 대기 중"},
	"en": {attach: "Attach read-only", title: "Attach Block Snapshot read-only", detachment: "Detach Block Snapshot", read: "Read-only: ", journal: "do not replay the journal",
		inUse: "It is attached to a server. Detach it first.", cutOff: "Cut off connected clients and detach", leaving: "Waiting to be detached"},
}

// reader registers a server and returns its id.
func (p *page) reader(name, address string) string {
	p.t.Helper()
	row, err := p.c.Store.Servers.AddServer(p.t.Context(), storetest.Administrator(), models.ServerInput{Name: name, Address: address})
	if err != nil {
		p.t.Fatal(err)
	}
	return row.ID
}

// isRead waits until n servers read the snapshot, which is AVAILABLE.
func (c *console) isRead(id string, n int) {
	c.until("the servers that read it", func(context.Context) bool {
		row, err := c.Store.Snapshots.SnapshotByID(context.Background(), id)
		return err == nil && row.Status == models.Available && row.AttachmentCount == n
	})
}

// scenarioReaders attaches a snapshot from the toolbar and from its page, and watches it
// while a client comes and goes.
func scenarioReaders(p *page) {
	say, name, server := readerWordsOf[p.lang], "read-"+p.lang, "web-"+p.lang
	web := p.reader(server, "10.0.0.5")
	p.reader("db-"+p.lang, "10.0.0.6")
	shot := p.c.snapshot(p.c.volume(name), name)
	p.Open(views.SnapshotsPath)
	p.Mark()
	p.tick(name)
	p.Click("button", say.attach)
	p.Popup(say.title)
	p.Clean("attach a snapshot")
	p.Pick(p.say.server, server)
	p.Click("button", say.attach)
	p.NoPopup()
	p.HasRow(name, "AVAILABLE", say.read+server)
	p.NotReloaded()
	p.c.isRead(shot, 1)

	p.Open(views.SnapshotsPath + "/" + shot)
	p.Sees(say.journal)
	p.Sees("sudo mount -o ro,norecovery,nouuid /dev/nbd0 /mnt")
	p.Clean("a snapshot that is read")
	p.Mark()
	p.c.Fake.Connect(shot, web, "10.0.0.5:43210")
	p.Wait(`document.querySelector(".clients")?.textContent.includes("10.0.0.5:43210")`)
	p.Open(views.SnapshotsPath + "/" + shot + "/delete")
	p.Sees(say.inUse)

	p.Open(views.SnapshotsPath + "/" + shot)
	p.Click("link", p.say.detach)
	p.Popup(say.detachment)
	p.Clean("detach a snapshot")
	p.Press("\x1b")
	p.NoPopup()
	if _, err := p.c.Store.Snapshots.DetachSnapshot(p.t.Context(), storetest.Operator(), shot, web, false, ""); err != nil {
		p.t.Fatal(err)
	}
	p.Sees(say.leaving)
	p.Click("link", p.say.detach)
	p.Popup(say.detachment)
	p.Click("checkbox", say.cutOff)
	p.Click("button", p.say.detach)
	p.NoPopup()
	p.c.isRead(shot, 0)
	p.Wait(`!document.querySelector(".command")`)
}

// plainReaders does the same without JavaScript.
func plainReaders(p *page) {
	say, name, server := readerWordsOf[p.lang], "pread-"+p.lang, "web-"+p.lang
	p.reader(server, "10.0.0.5")
	shot := p.c.snapshot(p.c.volume(name), name)
	p.Open(views.SnapshotsPath)
	p.tick(name)
	p.Follow("button", say.attach)
	p.Popup(say.title)
	p.Pick(p.say.server, server)
	p.Follow("button", say.attach)
	p.c.isRead(shot, 1)
	p.Open(views.SnapshotsPath)
	p.HasRow(name, "AVAILABLE", say.read+server)
	p.tick(name)
	p.Follow("button", p.say.detach)
	p.Popup(say.detachment)
	p.Follow("button", p.say.detach)
	p.c.isRead(shot, 0)
}
