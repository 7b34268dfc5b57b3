package browsertest

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"blockconsole/models"
	"blockconsole/views"
)

// lockWords are what the screen says of locks, word for word.
type lockWords struct{ lock, locked, title, until, forWhat, filter, unlock, unlockTitle string }

var lockWordsOf = map[string]lockWords{
	"ko": {lock: "잠금", locked: "잠김", title: "Block Snapshot 삭제 잠금", until: "DAY까지 삭제가 잠겨 있습니다. 사유: audit", forWhat: "사유", filter: "삭제 잠금", unlock: "잠금 해제", unlockTitle: "Block Snapshot 잠금 해제"},
	"en": {lock: "Lock", locked: "Locked", title: "Lock Block Snapshot", until: "It is locked against deletion until DAY. Reason: audit", forWhat: "Reason", filter: "Lock", unlock: "Unlock", unlockTitle: "Unlock Block Snapshot"},
}

// scenarioLock locks two snapshots at once, finds them by the filter, is refused to delete
// them, unlocks one, and deletes the other when its day is over.
func scenarioLock(p *page) {
	say, one, two := lockWordsOf[p.lang], "keep1-"+p.lang, "keep2-"+p.lang
	volume := p.c.volume("source-" + p.lang)
	for _, name := range []string{one, two, "loose-" + p.lang} {
		p.c.snapshotIs(p.c.snapshot(volume, name), models.Available)
	}
	p.Open(views.SnapshotsPath)
	p.Mark()
	p.tick(one)
	p.tick(two)
	p.Click("button", say.lock)
	p.Popup(say.title)
	p.Clean("the popup of a lock")
	p.Wait("document.activeElement.name === 'until'")
	p.noBrowserCheck()
	day := now[string](p, "(document.activeElement.value = document.activeElement.min)") // today, in the console's zone
	p.Fill("textbox", say.forWhat, "audit")
	p.Click("button", say.lock)
	p.NoPopup()
	for _, name := range []string{one, two} {
		p.HasRow(name, say.locked)
	}
	p.NotReloaded()
	p.Clean("a list with locks")

	remove, sentence := By("button", p.say.remove), replaceDay(say.until, day)
	p.Wait("%s.ariaDisabled === 'true' && document.getElementById(%s.getAttribute('aria-describedby')).textContent === %s", remove, remove, JS(sentence))
	id := p.c.snapshotsNamed(one)[0].ID
	if status := p.forge(views.SnapshotsPath+"/"+id+"/delete", url.Values{}); status != http.StatusConflict {
		p.t.Errorf("a forged deletion gets %d", status)
	}
	p.Quiet("forged", http.StatusConflict)
	p.Pick(say.filter, say.locked)
	p.Wait("location.search.includes('locked=1')")
	p.HasRow(one, say.locked)
	p.HasNoRow("loose-" + p.lang)

	p.Open(views.SnapshotsPath + "/" + id)
	p.Wait("document.getElementById('why-delete').textContent === %s", JS(sentence))
	p.Clean("the page of what is locked")
	p.Click("link", say.unlock)
	p.Popup(say.unlockTitle)
	p.Clean("the popup to unlock")
	p.Click("button", say.unlock)
	p.FieldSays(say.forWhat, "", p.say.reasonMissing)
	p.Fill("textbox", say.forWhat, "agreed")
	p.Click("button", say.unlock)
	p.NoPopup()
	p.Wait("!document.querySelector('.badge-lock') && one('link', %s).ariaDisabled !== 'true'", JS(p.say.remove))
	p.Quiet("unlocked", http.StatusUnprocessableEntity)

	p.c.ahead.Store(int64(24 * time.Hour)) // the day is over
	p.As(p.c.NewSession(models.FirstUser))
	p.Open(views.SnapshotsPath)
	p.Wait("%s && !document.querySelector('.badge-lock')", RowOf(two))
	p.tick(two)
	p.Click("button", p.say.remove)
	p.Popup(p.say.deleteSnapshot)
	p.Click("button", p.say.remove)
	p.NoPopup()
	p.HasNoRow(two)
	p.Quiet("a day later")
}

func replaceDay(sentence, day string) string { return strings.Replace(sentence, "DAY", day, 1) }
