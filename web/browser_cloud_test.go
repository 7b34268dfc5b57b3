package web

import (
	"errors"
	"net/http"
	"net/url"

	"blockconsole/models"
	"blockconsole/views"
)

// attached makes a volume that two servers use, or seem to.
func (p *page) attached(name string) string {
	p.t.Helper()
	id := p.w.volume(p.t, name)
	p.w.fake.AttachOutOfBand(id, "server-1")
	p.w.sweep(p.t)
	p.w.volumeIs(p.t, id, models.InUse)
	return id
}

// warned checks the alert of an attached volume.
func (p *page) warned() {
	p.t.Helper()
	p.wait("all('alert', null).some(a => [%s, %s, 'web-1'].every(text => a.textContent.includes(text)))", js(p.say.caution), js(p.say.warning))
	p.wait("!%s.checked", by("checkbox", p.say.tick))
}

// walkAttached takes a snapshot of an attached volume: the alert names the server,
// the tick is asked for, and the snapshot remembers.
func walkAttached(p *page) {
	name, shot := "att-"+p.lang, "live-shot-"+p.lang
	id := p.attached(name)
	p.open(views.VolumesPath)
	p.hasRow(name, "IN-USE", "web-1")
	p.tick(name)
	p.click("button", p.say.createSnapshot)
	p.popup(p.say.newSnapshot)
	p.warned()
	p.fill("textbox", p.say.snapshotName, shot)
	p.click("button", p.say.create) // the browser itself asks for the tick
	p.wait("root() !== document && !%s.validity.valid", by("checkbox", p.say.tick))
	p.noBrowserCheck()
	p.click("button", p.say.create)
	p.sees(p.say.tickMissing)
	p.wait("%s.getAttribute('aria-invalid') === 'true'", by("checkbox", p.say.tick))
	p.wait("%s.value === %s", by("textbox", p.say.snapshotName), js(shot))
	p.quiet("without the tick", http.StatusUnprocessableEntity)
	p.clean("the attached alert")
	if n := len(p.w.snapshotsNamed(p.t, shot)); n != 0 {
		p.t.Errorf("%d snapshots without the tick", n)
	}
	if status := p.forge(views.SnapshotsPath, url.Values{"volume_id": {id}, "name": {shot}}); status != http.StatusUnprocessableEntity {
		p.t.Errorf("a forged request without the tick gets %d", status)
	}
	p.click("checkbox", p.say.tick)
	p.click("button", p.say.create)
	p.noPopup()
	p.told(shot)
	p.menu("Block Snapshot")
	p.hasRow(shot, "AVAILABLE", p.say.live)
	p.quiet("attached", http.StatusUnprocessableEntity)

	// The badge is repeated where the snapshot is restored.
	p.tick(shot)
	p.click("button", p.say.restore)
	p.popup(p.say.newVolume)
	p.sees(p.say.live)
	p.clean("restoring what was taken live")
}

// walkAttachedMeanwhile: the volume is attached while the popup is open, so the
// server shows the popup again with the alert.
func walkAttachedMeanwhile(p *page) {
	name, shot := "meanwhile-"+p.lang, "mshot-"+p.lang
	id := p.w.volume(p.t, name)
	p.open(views.VolumesPath)
	p.tick(name)
	p.click("button", p.say.createSnapshot)
	p.popup(p.say.newSnapshot)
	p.wait("all('checkbox', null).length === 0")
	p.fill("textbox", p.say.snapshotName, shot)
	p.w.fake.AttachOutOfBand(id, "server-1")
	p.w.sweep(p.t)
	p.click("button", p.say.create)
	p.warned()
	p.wait("%s.value === %s", by("textbox", p.say.snapshotName), js(shot))
	p.click("checkbox", p.say.tick)
	p.click("button", p.say.create)
	p.noPopup()
	p.w.snapshotIs(p.t, p.w.snapshotsNamed(p.t, shot)[0].ID, models.Available)
	p.quiet("attached meanwhile", http.StatusUnprocessableEntity)
}

// plainAttached is walkAttached without JavaScript.
func plainAttached(p *page) {
	name, shot := "page-att-"+p.lang, "page-shot-"+p.lang
	p.attached(name)
	p.open(views.VolumesPath)
	p.tick(name)
	p.follow("button", p.say.createSnapshot)
	p.popup(p.say.newSnapshot)
	p.warned()
	p.fill("textbox", p.say.snapshotName, shot)
	p.noBrowserCheck()
	if status := p.follow("button", p.say.create); status != http.StatusUnprocessableEntity {
		p.t.Errorf("without the tick: %d", status)
	}
	p.sees(p.say.tickMissing)
	p.quiet("plain attached", http.StatusUnprocessableEntity)
	p.clean("the alert on a page")
	p.click("checkbox", p.say.tick)
	p.lands(p.follow("button", p.say.create), views.SnapshotsPath)
	p.w.snapshotIs(p.t, p.w.snapshotsNamed(p.t, shot)[0].ID, models.Available)
	p.open(views.SnapshotsPath)
	p.hasRow(shot, "AVAILABLE", p.say.live)
	p.noSelection("p" + name)
}

// noSelection takes a snapshot without a selection and without JavaScript: the
// volume is searched on the page.
func (p *page) noSelection(name string) {
	p.t.Helper()
	p.w.volume(p.t, name)
	p.open(views.VolumesPath)
	p.follow("button", p.say.createSnapshot)
	p.popup(p.say.newSnapshot)
	p.fill("searchbox", p.say.volumeField, name)
	at := p.at("one('button', " + js(p.say.find) + ", document.querySelector('#popup-form'))")
	p.loads(clickAt(at))
	p.wait("all('radio', null).length === 1")
	p.clickOn("all('radio', null)[0]")
	p.fill("textbox", p.say.snapshotName, name)
	p.lands(p.follow("button", p.say.create), views.SnapshotsPath)
	p.hasRow(name)
	p.quiet("no selection")
}

// errorDeleting makes a snapshot whose deletion has failed.
func (p *page) errorDeleting(name string) string {
	p.t.Helper()
	id := p.w.snapshot(p.t, p.w.volume(p.t, name), name)
	p.w.fake.FailDelete(id, errors.New("the array does not let go"))
	p.w.ask(p.t, views.SnapshotsPath+"/"+id+"/delete", url.Values{})
	p.w.snapshotIs(p.t, id, models.ErrorDeleting)
	return id
}

// walkErrorDeleting: nobody deletes it; an administrator repairs it first.
func walkErrorDeleting(p *page) {
	name := "stuck-" + p.lang
	id := p.errorDeleting(name)
	p.open(views.SnapshotsPath)
	p.mark()
	p.hasRow(name, "ERROR_DELETING")
	p.tick(name)
	remove := by("button", p.say.remove)
	p.wait("%s.ariaDisabled === 'true' && document.getElementById(%s.getAttribute('aria-describedby')).textContent === %s",
		remove, remove, js(p.say.errorDeleting))
	p.click("button", p.say.remove)
	p.wait("root() === document")
	p.clean("a list with ERROR_DELETING")
	if status := p.forge(views.SnapshotsPath+"/"+id+"/delete", url.Values{}); status != http.StatusConflict {
		p.t.Errorf("a forged deletion gets %d", status)
	}
	p.quiet("forged", http.StatusConflict)

	// The administrator's 복구 is in the menu of the row.
	p.clickOn(rowOf(name) + ".querySelector('[data-row-menu]')")
	p.clickOn("one('link', " + js(p.say.repair) + ", document.querySelector('#row-menu'))")
	p.popup(p.say.repairSnapshot)
	p.noBrowserCheck()
	p.click("button", p.say.repair)
	p.fieldSays(p.say.reason, "", p.say.reasonMissing)
	p.fill("textbox", p.say.reason, "the array was restarted")
	p.click("button", p.say.repair)
	p.noPopup()
	p.wait("%s.querySelector('.c-status').innerText.startsWith('ERROR') && !%s.textContent.includes('ERROR_DELETING')", rowOf(name), rowOf(name))
	p.wait("%s.querySelector('input').checked && !%s.ariaDisabled", rowOf(name), remove)
	p.click("button", p.say.remove)
	p.popup(p.say.deleteSnapshot)
	p.click("button", p.say.remove)
	p.noPopup()
	p.hasNoRow(name)
	p.marked()
	p.quiet("repaired", http.StatusUnprocessableEntity)

	p.errorDeletingPage("stuck2-" + p.lang)
}

// errorDeletingPage opens the popup's address: it says why, and offers no button.
func (p *page) errorDeletingPage(name string) {
	p.t.Helper()
	id := p.errorDeleting(name)
	if status := p.open(views.SnapshotsPath + "/" + id + "/delete"); status != http.StatusOK {
		p.t.Errorf("the popup's page: %d", status)
	}
	p.wait("%s", by("heading", p.say.deleteSnapshot))
	p.sees(p.say.errorDeleting)
	p.wait("all('button', %s).length === 0", js(p.say.remove))
	p.clean("the refused deletion")
}

// plainErrorDeleting is the same without JavaScript.
func plainErrorDeleting(p *page) {
	name := "pstuck-" + p.lang
	id := p.errorDeleting(name)
	p.open(views.SnapshotsPath)
	p.tick(name)
	p.follow("button", p.say.remove)
	p.sees(p.say.errorDeleting)
	p.wait("all('button', %s).length === 0", js(p.say.remove))
	if status := p.forge(views.SnapshotsPath+"/"+id+"/delete", url.Values{}); status != http.StatusConflict {
		p.t.Errorf("a forged deletion gets %d", status)
	}
	p.open(views.SnapshotsPath + "/" + id)
	p.follow("link", p.say.repair)
	p.popup(p.say.repairSnapshot)
	p.fill("textbox", p.say.reason, "the array was restarted")
	p.lands(p.follow("button", p.say.repair), views.SnapshotsPath)
	p.w.snapshotIs(p.t, id, models.ErrorStatus)
	p.open(views.SnapshotsPath + "/" + id + "/delete")
	p.follow("button", p.say.remove)
	p.w.snapshotIs(p.t, id, statusGone)
	p.open(views.SnapshotsPath)
	p.hasNoRow(name)
	p.errorDeletingPage("pstuck2-" + p.lang)
}

// walkServer restores a snapshot to a chosen server: the volume ends attached, and
// the operation's page shows the steps.
func walkServer(p *page) { p.restoreToServer("srv-" + p.lang) }

// plainServer is the same without JavaScript.
func plainServer(p *page) { p.restoreToServer("psrv-" + p.lang) }

func (p *page) restoreToServer(name string) {
	p.t.Helper()
	source := p.w.volume(p.t, name)
	if err := p.w.fake.WriteVolume(source, 0, []byte("kept")); err != nil {
		p.t.Fatal(err)
	}
	shot := p.w.snapshot(p.t, source, name)
	p.open(views.SnapshotsPath)
	p.tick(name)
	press := func(button string) { p.click("button", button) }
	if !p.script {
		press = func(button string) { p.follow("button", button) }
	}
	press(p.say.restore)
	p.popup(p.say.newVolume)
	p.fill("textbox", p.say.volumeName, name+"-r")
	p.pickOption(p.say.server, "db-1")
	press(p.say.create)
	if p.script {
		p.noPopup()
		p.told(name + "-r")
	}
	volume := p.w.volumesNamed(p.t, name+"-r")[0].ID
	p.w.volumeIs(p.t, volume, models.InUse)
	p.open(views.VolumesPath)
	p.hasRow(name+"-r", "IN-USE", "db-1")
	if !p.w.fake.EqualBytes(volume, shot) {
		p.t.Error("the volume does not hold what the snapshot holds")
	}
	operations, err := p.w.store.Queue.ListOperations(p.t.Context(), administrator, models.OperationQuery{Subject: volume, Limit: 1})
	if err != nil || len(operations) != 1 {
		p.t.Fatalf("%d operations, %v", len(operations), err)
	}
	p.w.until(p.t, "the operation to end", func(ctx ctx) bool {
		done, err := p.w.store.Queue.ListOperations(ctx, administrator, models.OperationQuery{Subject: volume, Limit: 1})
		return err == nil && done[0].State == models.Succeeded
	})
	p.open("/activity/" + operations[0].ID)
	p.sees(p.say.stepAttach + " " + p.say.done)
	p.clean("the operation's page")
}
