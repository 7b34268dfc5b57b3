package browsertest

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"blockconsole/models"
	"blockconsole/views"
)

// attached makes a volume that two servers use, or seem to.
func (p *page) attached(name string) string {
	p.t.Helper()
	id := p.c.volume(name)
	p.c.Fake.AttachOutOfBand(id, "server-1")
	p.c.Resync()
	p.c.volumeIs(id, models.InUse)
	return id
}

// warned checks the alert of an attached volume.
func (p *page) warned() {
	p.t.Helper()
	p.Wait("all('alert', null).some(a => [%s, %s, 'web-1'].every(text => a.textContent.includes(text)))", JS(p.say.caution), JS(p.say.warning))
	p.Wait("!%s.checked", By("checkbox", p.say.tick))
}

// scenarioAttached takes a snapshot of an attached volume: the alert names the server,
// the tick is asked for, and the snapshot remembers.
func scenarioAttached(p *page) {
	name, shot := "att-"+p.lang, "live-shot-"+p.lang
	id := p.attached(name)
	p.Open(views.VolumesPath)
	p.HasRow(name, "IN-USE", "web-1")
	p.tick(name)
	p.Click("button", p.say.createSnapshot)
	p.Popup(p.say.newSnapshot)
	p.warned()
	p.Fill("textbox", p.say.snapshotName, shot)
	p.Click("button", p.say.create) // the browser itself asks for the tick
	p.Wait("root() !== document && !%s.validity.valid", By("checkbox", p.say.tick))
	p.noBrowserCheck()
	p.Click("button", p.say.create)
	p.Sees(p.say.tickMissing)
	p.Wait("%s.getAttribute('aria-invalid') === 'true'", By("checkbox", p.say.tick))
	p.Wait("%s.value === %s", By("textbox", p.say.snapshotName), JS(shot))
	p.Quiet("without the tick", http.StatusUnprocessableEntity)
	p.Clean("the attached alert")
	if n := len(p.c.snapshotsNamed(shot)); n != 0 {
		p.t.Errorf("%d snapshots without the tick", n)
	}
	if status := p.forge(views.SnapshotsPath, url.Values{"volume_id": {id}, "name": {shot}}); status != http.StatusUnprocessableEntity {
		p.t.Errorf("a forged request without the tick gets %d", status)
	}
	p.Click("checkbox", p.say.tick)
	p.Click("button", p.say.create)
	p.NoPopup()
	p.Told(shot)
	p.menu("Block Snapshot")
	p.HasRow(shot, "AVAILABLE", p.say.live)
	p.Quiet("attached", http.StatusUnprocessableEntity)

	// The badge is repeated where the snapshot is restored.
	p.tick(shot)
	p.Click("button", p.say.restore)
	p.Popup(p.say.newVolume)
	p.Sees(p.say.live)
	p.Clean("restoring what was taken live")
}

// scenarioAttachedMeanwhile: the volume is attached while the popup is open, so the
// server shows the popup again with the alert.
func scenarioAttachedMeanwhile(p *page) {
	name, shot := "meanwhile-"+p.lang, "mshot-"+p.lang
	id := p.c.volume(name)
	p.Open(views.VolumesPath)
	p.tick(name)
	p.Click("button", p.say.createSnapshot)
	p.Popup(p.say.newSnapshot)
	p.Wait("all('checkbox', null).length === 0")
	p.Fill("textbox", p.say.snapshotName, shot)
	p.c.Fake.AttachOutOfBand(id, "server-1")
	p.c.Resync()
	p.Click("button", p.say.create)
	p.warned()
	p.Wait("%s.value === %s", By("textbox", p.say.snapshotName), JS(shot))
	p.Click("checkbox", p.say.tick)
	p.Click("button", p.say.create)
	p.NoPopup()
	p.c.snapshotIs(p.c.snapshotsNamed(shot)[0].ID, models.Available)
	p.Quiet("attached meanwhile", http.StatusUnprocessableEntity)
}

// plainAttached is scenarioAttached without JavaScript.
func plainAttached(p *page) {
	name, shot := "page-att-"+p.lang, "page-shot-"+p.lang
	p.attached(name)
	p.Open(views.VolumesPath)
	p.tick(name)
	p.Follow("button", p.say.createSnapshot)
	p.Popup(p.say.newSnapshot)
	p.warned()
	p.Fill("textbox", p.say.snapshotName, shot)
	p.noBrowserCheck()
	if status := p.Follow("button", p.say.create); status != http.StatusUnprocessableEntity {
		p.t.Errorf("without the tick: %d", status)
	}
	p.Sees(p.say.tickMissing)
	p.Quiet("plain attached", http.StatusUnprocessableEntity)
	p.Clean("the alert on a page")
	p.Click("checkbox", p.say.tick)
	p.lands(p.Follow("button", p.say.create), views.SnapshotsPath)
	p.c.snapshotIs(p.c.snapshotsNamed(shot)[0].ID, models.Available)
	p.Open(views.SnapshotsPath)
	p.HasRow(shot, "AVAILABLE", p.say.live)
	p.noSelection("p" + name)
}

// noSelection takes a snapshot without a selection and without JavaScript: the
// volume is searched on the page.
func (p *page) noSelection(name string) {
	p.t.Helper()
	p.c.volume(name)
	p.Open(views.VolumesPath)
	p.Follow("button", p.say.createSnapshot)
	p.Popup(p.say.newSnapshot)
	p.Fill("searchbox", p.say.volumeField, name)
	at := p.At("one('button', " + JS(p.say.find) + ", document.querySelector('#popup-form'))")
	p.Loads(ClickAt(at))
	p.Wait("all('radio', null).length === 1")
	p.ClickOn("all('radio', null)[0]")
	p.Fill("textbox", p.say.snapshotName, name)
	p.lands(p.Follow("button", p.say.create), views.SnapshotsPath)
	p.HasRow(name)
	p.Quiet("no selection")
}

// errorDeleting makes a snapshot whose deletion has failed.
func (p *page) errorDeleting(name string) string {
	p.t.Helper()
	id := p.c.snapshot(p.c.volume(name), name)
	p.c.Fake.FailDelete(id, errors.New("the array does not let go"))
	p.c.ask(views.SnapshotsPath+"/"+id+"/delete", url.Values{})
	p.c.snapshotIs(id, models.ErrorDeleting)
	return id
}

// scenarioErrorDeleting: nobody deletes it; an administrator repairs it first.
func scenarioErrorDeleting(p *page) {
	name := "stuck-" + p.lang
	id := p.errorDeleting(name)
	p.Open(views.SnapshotsPath)
	p.Mark()
	p.HasRow(name, "ERROR_DELETING")
	p.tick(name)
	remove := By("button", p.say.remove)
	p.Wait("%s.ariaDisabled === 'true' && document.getElementById(%s.getAttribute('aria-describedby')).textContent === %s",
		remove, remove, JS(p.say.errorDeleting))
	p.Click("button", p.say.remove)
	p.Wait("root() === document")
	p.Clean("a list with ERROR_DELETING")
	if status := p.forge(views.SnapshotsPath+"/"+id+"/delete", url.Values{}); status != http.StatusConflict {
		p.t.Errorf("a forged deletion gets %d", status)
	}
	p.Quiet("forged", http.StatusConflict)

	// The administrator's 복구 is in the menu of the row.
	p.ClickOn(RowOf(name) + ".querySelector('[data-row-menu]')")
	p.ClickOn("one('link', " + JS(p.say.repair) + ", document.querySelector('#row-menu'))")
	p.Popup(p.say.repairSnapshot)
	p.noBrowserCheck()
	p.Click("button", p.say.repair)
	p.FieldSays(p.say.reason, "", p.say.reasonMissing)
	p.Fill("textbox", p.say.reason, "the array was restarted")
	p.Click("button", p.say.repair)
	p.NoPopup()
	p.Wait("%s.querySelector('.c-status').innerText.startsWith('ERROR') && !%s.textContent.includes('ERROR_DELETING')", RowOf(name), RowOf(name))
	p.Wait("%s.querySelector('input').checked && !%s.ariaDisabled", RowOf(name), remove)
	p.Click("button", p.say.remove)
	p.Popup(p.say.deleteSnapshot)
	p.Click("button", p.say.remove)
	p.NoPopup()
	p.HasNoRow(name)
	p.NotReloaded()
	p.Quiet("repaired", http.StatusUnprocessableEntity)

	p.errorDeletingPage("stuck2-" + p.lang)
}

// errorDeletingPage opens the popup's address: it says why, and offers no button.
func (p *page) errorDeletingPage(name string) {
	p.t.Helper()
	id := p.errorDeleting(name)
	if status := p.Open(views.SnapshotsPath + "/" + id + "/delete"); status != http.StatusOK {
		p.t.Errorf("the popup's page: %d", status)
	}
	p.Wait("%s", By("heading", p.say.deleteSnapshot))
	p.Sees(p.say.errorDeleting)
	p.Wait("all('button', %s).length === 0", JS(p.say.remove))
	p.Clean("the refused deletion")
}

// plainErrorDeleting is the same without JavaScript.
func plainErrorDeleting(p *page) {
	name := "pstuck-" + p.lang
	id := p.errorDeleting(name)
	p.Open(views.SnapshotsPath)
	p.tick(name)
	p.Follow("button", p.say.remove)
	p.Sees(p.say.errorDeleting)
	p.Wait("all('button', %s).length === 0", JS(p.say.remove))
	if status := p.forge(views.SnapshotsPath+"/"+id+"/delete", url.Values{}); status != http.StatusConflict {
		p.t.Errorf("a forged deletion gets %d", status)
	}
	p.Open(views.SnapshotsPath + "/" + id)
	p.Follow("link", p.say.repair)
	p.Popup(p.say.repairSnapshot)
	p.Fill("textbox", p.say.reason, "the array was restarted")
	p.lands(p.Follow("button", p.say.repair), views.SnapshotsPath)
	p.c.snapshotIs(id, models.ErrorStatus)
	p.Open(views.SnapshotsPath + "/" + id + "/delete")
	p.Follow("button", p.say.remove)
	p.c.snapshotIs(id, statusGone)
	p.Open(views.SnapshotsPath)
	p.HasNoRow(name)
	p.errorDeletingPage("pstuck2-" + p.lang)
}

// scenarioServer restores a snapshot to a chosen server: the volume ends attached, and
// the operation's page shows the steps.
func scenarioServer(p *page) { p.restoreToServer("srv-" + p.lang) }

// plainServer is the same without JavaScript.
func plainServer(p *page) { p.restoreToServer("psrv-" + p.lang) }

func (p *page) restoreToServer(name string) {
	p.t.Helper()
	source := p.c.volume(name)
	if err := p.c.Fake.WriteVolume(source, 0, []byte("kept")); err != nil {
		p.t.Fatal(err)
	}
	shot := p.c.snapshot(source, name)
	p.Open(views.SnapshotsPath)
	p.tick(name)
	press := func(button string) { p.Click("button", button) }
	if !p.script {
		press = func(button string) { p.Follow("button", button) }
	}
	press(p.say.restore)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.volumeName, name+"-r")
	p.Pick(p.say.server, "db-1")
	press(p.say.create)
	if p.script {
		p.NoPopup()
		p.Told(name + "-r")
	}
	volume := p.c.volumesNamed(name + "-r")[0].ID
	p.c.volumeIs(volume, models.InUse)
	p.Open(views.VolumesPath)
	p.HasRow(name+"-r", "IN-USE", "db-1")
	if !p.c.Fake.EqualBytes(volume, shot) {
		p.t.Error("the volume does not hold what the snapshot holds")
	}
	operations, err := p.c.Store.Queue.ListOperations(p.t.Context(), administrator, models.OperationQuery{Subject: volume, Limit: 1})
	if err != nil || len(operations) != 1 {
		p.t.Fatalf("%d operations, %v", len(operations), err)
	}
	p.c.until("the operation to end", func(ctx context.Context) bool {
		done, err := p.c.Store.Queue.ListOperations(ctx, administrator, models.OperationQuery{Subject: volume, Limit: 1})
		return err == nil && done[0].State == models.Succeeded
	})
	p.Open("/activity/" + operations[0].ID)
	p.Sees(p.say.stepAttach + " " + p.say.done)
	p.Clean("the operation's page")
}
