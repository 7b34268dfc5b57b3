package web

import (
	"net/url"
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/views/viewtest"
)

// exportWords are what the pages of servers say, word for word.
type exportWords struct {
	register, send, name, address, edit, remove, notNetwork, kept   string
	never, connected, gone, copyButton, waiting, cutOff, detachment string
}

var exportWordsOf = map[string]exportWords{
	"ko": {register: "서버 등록", send: "등록", name: "서버 이름", address: "주소", edit: "서버 수정", remove: "서버 삭제", notNetwork: "IP 주소나 네트워크가 아닙니다", kept: "Volume이 연결되어 있어 삭제할 수 없습니다.",
		never: "접속 없음", connected: "접속 중", gone: "지금은 접속 없음", copyButton: "Linux (nbd-client) 복사", waiting: "접속 종료 대기: 10.0.0.5:43210", cutOff: "접속 중인 클라이언트를 끊고 연결 해제", detachment: "Volume 연결 해제"},
	"en": {register: "Register Server", send: "Register", name: "Server name", address: "Address", edit: "Edit Server", remove: "Delete Server", notNetwork: "neither an IP address nor a network", kept: "Volumes are attached to it, so it cannot be deleted.",
		never: "Never connected", connected: "Connected", gone: "Not connected now", copyButton: "Copy Linux (nbd-client)", waiting: "Waiting for 10.0.0.5:43210 to go", cutOff: "Cut off connected clients and detach", detachment: "Detach Volume"},
}

// TestBrowserExports registers a server, attaches a volume and watches its
// page while clients come and go.
func TestBrowserExports(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: walks through the console in a browser")
	}
	w := newWorld(t, viewtest.Browser(t), backendtest.NewFake(nil))
	w.fake.Serve("nbd", "127.0.0.1:10809", registered(w.store))
	if err := w.mirror.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, lang := range []string{"ko", "en"} {
		w.run(t, walk{"exports", walkExports}, lang, true)
	}
}

func walkExports(p *page) {
	say, server := exportWordsOf[p.lang], "web-"+p.lang
	p.open(views.ServersPath)
	p.clean("servers")
	p.mark()
	p.click("link", say.register)
	p.popup(say.register)
	p.fill("textbox", say.name, server)
	p.fill("textbox", say.address, "everywhere")
	p.click("button", say.send)
	p.fieldSays(say.address, "everywhere", say.notNetwork)
	p.quiet("bad address", 422)
	p.fill("textbox", say.address, "10.0.0.5, 10.1.0.0/24")
	p.click("button", say.send)
	p.noPopup()
	p.hasRow(server, "10.0.0.5, 10.1.0.0/24")
	p.marked()

	var id string
	rows, err := p.w.store.Servers.RegisteredServers(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range rows {
		if r.Name == server {
			id = r.ID
		}
	}
	volume := p.w.volume(p.t, "used-"+p.lang)
	p.w.ask(p.t, views.VolumesPath+"/"+volume+"/attach", url.Values{"server_id": {id}})
	p.w.volumeIs(p.t, volume, models.InUse)
	p.open(views.VolumesPath + "/" + volume)
	p.sees(say.never)
	p.click("button", say.copyButton)
	p.clean("attached volume")
	p.followsConnections(say, volume, id)

	p.open(views.ServersPath + "/" + id + "/delete")
	p.sees(say.kept)
	p.clean("server with volumes")
}

// followsConnections watches the page of a volume: it is never loaded again.
func (p *page) followsConnections(say exportWords, volume, server string) {
	p.mark()
	connection := p.w.fake.Connect(volume, server, "10.0.0.5:43210")
	p.wait(`document.querySelector(".clients")?.textContent.includes("10.0.0.5:43210")`)
	p.sees(say.connected)
	p.w.fake.Transfer(connection, 3<<30, 0)
	p.wait(`document.querySelector(".clients").textContent.includes("3 GiB")`)
	p.clean("volume in use")
	p.w.fake.Disconnect(connection)
	p.wait(`!document.querySelector(".clients")`)
	p.sees(say.gone)

	p.w.fake.Connect(volume, server, "10.0.0.5:43210")
	p.wait(`document.querySelector(".clients")`)
	if _, err := p.w.store.Volumes.DetachVolume(p.t.Context(), storetest.Operator(), volume, server, false, ""); err != nil {
		p.t.Fatal(err)
	}
	p.sees(say.waiting)
	p.click("link", p.say.detach)
	p.popup(say.detachment)
	p.click("checkbox", say.cutOff)
	p.clean("cutting off")
	p.press("\x1b")
	p.noPopup()
	p.marked()
	if _, err := p.w.store.Volumes.DetachVolume(p.t.Context(), storetest.Operator(), volume, server, true, ""); err != nil {
		p.t.Fatal(err)
	}
	p.w.volumeIs(p.t, volume, models.Available)
	p.wait(`!document.querySelector(".command")`)
	p.marked()
	p.w.ask(p.t, views.VolumesPath+"/"+volume+"/attach", url.Values{"server_id": {server}})
	p.w.volumeIs(p.t, volume, models.InUse)
}
