package cloudtest

import (
	"net/http"
	"testing"

	"blockconsole/views"
	"blockconsole/views/viewtest"
	"blockconsole/web/browsertest"
)

const warning = "Volume이 서버에 연결된 상태에서 Block Snapshot을 생성하면 스냅샷의 데이터가 손상될 수 있습니다."

// TestBrowserCloud goes through the user guide in a real browser on a real cloud. No
// list is loaded again to see what became of a click.
func TestBrowserCloud(t *testing.T) {
	t.Parallel()
	c := theCloud(t)
	browser := viewtest.NewTab(t, viewtest.Browser(t))
	s := c.server(c.named("srv"))
	p := newConsole(t, c)
	p.knows(s)
	b := p.tab(browser)
	volume, clean, live, renamed, back := c.named("vol"), c.named("clean"), c.named("live"), c.named("renamed"), c.named("back")

	b.Open(views.VolumesPath)
	b.Click("link", "생성")
	b.Popup("Volume 생성")
	b.Sees("이번 1 / 한도")
	b.fill("Volume 이름", volume)
	b.fill("크기(GiB)", "1")
	b.send("생성")
	b.HasRow(volume, "AVAILABLE", "1 GiB")
	b.tick(volume, "스냅샷 생성", "Block Snapshot 생성")
	b.Sees(warning)
	b.Wait("!%s", browsertest.By("checkbox", "데이터 손상 가능성을 확인했습니다"))
	b.fill("Block Snapshot 이름", clean)
	b.send("생성")
	b.tick(volume, "연결", "Volume 연결")
	b.Pick("서버", s.Name)
	b.send("연결")
	b.HasRow(volume, "IN-USE", s.Name)
	b.live(volume, live, s)
	b.Open(views.SnapshotsPath)
	b.HasRow(clean, "AVAILABLE", volume, "정상")
	b.HasRow(live, "AVAILABLE", volume, "연결 중 생성")
	b.picture()
	b.Quiet("the guide", http.StatusUnprocessableEntity)
	b.Clean("the snapshots")
	b.tick(live, "수정", "Block Snapshot 수정")
	b.fill("Block Snapshot 이름", renamed)
	b.send("수정")
	b.HasRow(renamed, "AVAILABLE")
	b.HasNoRow(live)
	b.Wait("row(%s).querySelector('input').checked", browsertest.JS(renamed))
	b.Click("button", "Volume 생성")
	b.Popup("Volume 생성")
	b.Sees("연결 중 생성")
	b.fill("Volume 이름", back)
	b.Pick("서버", s.Name)
	b.send("생성")

	b.Open(views.VolumesPath)
	b.HasRow(back, "IN-USE", s.Name)
	b.picture()
	b.letGo(volume, back)
	b.reverted(volume, renamed)
	b.deleted(renamed, "Block Snapshot 삭제")
	b.deleted(clean, "Block Snapshot 삭제")
	b.Open(views.VolumesPath)
	b.deleted(volume, "Volume 삭제")
	b.Clean("the end")
	if left := append(c.made("volumes"), c.made("snapshots")...); len(left) != 0 {
		t.Errorf("the cloud still has %+v", left)
	}
}

// letGo detaches both volumes; back is extended and deleted.
func (b *tab) letGo(volume, back string) {
	b.t.Helper()
	for _, name := range []string{back, volume} {
		b.alone(name)
		b.Click("button", "연결 해제")
		b.Popup("Volume 연결 해제")
		b.send("연결 해제")
		b.HasRow(name, "AVAILABLE")
	}
	b.alone(back)
	b.Click("button", "확장")
	b.Popup("Volume 확장")
	b.fill("크기(GiB)", "2")
	b.send("확장")
	b.HasRow(back, "AVAILABLE", "2 GiB")
	b.deleted(back, "Volume 삭제")
}

// live takes a snapshot of an attached volume: the popup names the server, warns, and
// asks for the tick.
func (b *tab) live(volume, name string, s server) {
	b.t.Helper()
	b.tick(volume, "스냅샷 생성", "Block Snapshot 생성")
	b.Sees(warning)
	b.Sees(s.Name)
	b.fill("Block Snapshot 이름", name)
	b.Wait("(document.querySelectorAll('form').forEach(f => f.noValidate = true), true)") // the server decides
	b.picture()
	b.Click("button", "생성")
	b.Sees("계속하려면 데이터 손상 가능성을 확인했다고 표시하세요.")
	if made := b.p.c.made("snapshots"); len(made) != 1 {
		b.t.Errorf("without the tick: %+v", made)
	}
	b.Click("checkbox", "데이터 손상 가능성을 확인했습니다")
	b.send("생성")
}

// alone ticks the row of a name, and no other.
func (b *tab) alone(name string) {
	b.t.Helper()
	b.Wait(`row(%s) && ([...document.querySelectorAll("tbody tr input[type=checkbox]")].forEach(i => {
		if (i.checked !== (i.closest("tr") === row(%s))) i.click() }), true)`, browsertest.JS(name), browsertest.JS(name))
}

func (b *tab) deleted(name, popup string) {
	b.t.Helper()
	b.alone(name)
	b.Click("button", "삭제")
	b.Popup(popup)
	b.Sees(name)
	b.send("삭제")
	b.HasNoRow(name)
}

// reverted puts a volume back to a snapshot from the menu of its row.
func (b *tab) reverted(volume, snapshot string) {
	b.t.Helper()
	b.Open(views.SnapshotsPath)
	b.ClickOn("row(" + browsertest.JS(snapshot) + ")?.querySelector('[data-row-menu]')")
	b.ClickOn("[...document.querySelectorAll('#row-menu a')].find(a => a.href.endsWith('/revert'))")
	b.Popup("Volume 되돌리기")
	b.Sees(volume)
	b.send("되돌리기")
	b.Open(views.VolumesPath)
	b.HasRow(volume, "AVAILABLE")
	b.Open(views.SnapshotsPath)
	b.HasRow(snapshot, "AVAILABLE")
}
