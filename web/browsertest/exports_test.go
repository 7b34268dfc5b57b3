package browsertest

import (
	"net/url"

	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
)

// exportWords are what the pages of servers say, word for word.
type exportWords struct {
	register, send, name, address, edit, remove, notNetwork, kept   string
	never, connected, gone, copyButton, waiting, cutOff, detachment string
}

var exportWordsOf = map[string]exportWords{
	"ko": {register: "서버 등록", send: "등록", name: "서버 이름", address: "주소", edit: "서버 수정", remove: "서버 삭제", notNetwork: "IP 주소나 네트워크가 아닙니다", kept: "Volume이나 Block Snapshot이 연결되어 있어 삭제할 수 없습니다.",
		never: "접속 없음", connected: "접속 중", gone: "지금은 접속 없음", copyButton: "Linux (nbd-client) 복사", waiting: "접속 종료 대기: 10.0.0.5:43210", cutOff: "접속 중인 클라이언트를 끊고 연결 해제", detachment: "Volume 연결 해제"},
	"en": {register: "Register Server", send: "Register", name: "Server name", address: "Address", edit: "Edit Server", remove: "Delete Server", notNetwork: "neither an IP address nor a network", kept: "Volumes or Block Snapshots are attached to it, so it cannot be deleted.",
		never: "Never connected", connected: "Connected", gone: "Not connected now", copyButton: "Copy Linux (nbd-client)", waiting: "Waiting for 10.0.0.5:43210 to go", cutOff: "Cut off connected clients and detach", detachment: "Detach Volume"},
}

// scenarioExports registers a server, attaches a volume and watches its page while
// clients come and go.
func scenarioExports(p *page) {
	say, server := exportWordsOf[p.lang], "web-"+p.lang
	p.Open(views.ServersPath)
	p.Clean("servers")
	p.Mark()
	p.Click("link", say.register)
	p.Popup(say.register)
	p.Fill("textbox", say.name, server)
	p.Fill("textbox", say.address, "everywhere")
	p.Click("button", say.send)
	p.FieldSays(say.address, "everywhere", say.notNetwork)
	p.Quiet("bad address", 422)
	p.Fill("textbox", say.address, "10.0.0.5, 10.1.0.0/24")
	p.Click("button", say.send)
	p.NoPopup()
	p.HasRow(server, "10.0.0.5, 10.1.0.0/24")
	p.NotReloaded()

	var id string
	rows, err := p.c.Store.Servers.RegisteredServers(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range rows {
		if r.Name == server {
			id = r.ID
		}
	}
	volume := p.c.volume("used-" + p.lang)
	p.c.ask(views.VolumesPath+"/"+volume+"/attach", url.Values{"server_id": {id}})
	p.c.volumeIs(volume, models.InUse)
	p.Open(views.VolumesPath + "/" + volume)
	p.Sees(say.never)
	p.Click("button", say.copyButton)
	p.Clean("attached volume")
	p.followsConnections(say, volume, id)

	p.Open(views.ServersPath + "/" + id + "/delete")
	p.Sees(say.kept)
	p.Clean("server with volumes")
}

// followsConnections watches the page of a volume: it is never loaded again.
func (p *page) followsConnections(say exportWords, volume, server string) {
	p.Mark()
	connection := p.c.Fake.Connect(volume, server, "10.0.0.5:43210")
	p.Wait(`document.querySelector(".clients")?.textContent.includes("10.0.0.5:43210")`)
	p.Sees(say.connected)
	p.c.Fake.Transfer(connection, 3<<30, 0)
	p.Wait(`document.querySelector(".clients").textContent.includes("3 GiB")`)
	p.Clean("volume in use")
	p.c.Fake.Disconnect(connection)
	p.Wait(`!document.querySelector(".clients")`)
	p.Sees(say.gone)

	p.c.Fake.Connect(volume, server, "10.0.0.5:43210")
	p.Wait(`document.querySelector(".clients")`)
	if _, err := p.c.Store.Volumes.DetachVolume(p.t.Context(), storetest.Operator(), volume, server, false, ""); err != nil {
		p.t.Fatal(err)
	}
	p.Sees(say.waiting)
	p.Click("link", p.say.detach)
	p.Popup(say.detachment)
	p.Click("checkbox", say.cutOff)
	p.Clean("cutting off")
	p.Press("\x1b")
	p.NoPopup()
	p.NotReloaded()
	if _, err := p.c.Store.Volumes.DetachVolume(p.t.Context(), storetest.Operator(), volume, server, true, ""); err != nil {
		p.t.Fatal(err)
	}
	p.c.volumeIs(volume, models.Available)
	p.Wait(`!document.querySelector(".command")`)
	p.NotReloaded()
	p.c.ask(views.VolumesPath+"/"+volume+"/attach", url.Values{"server_id": {server}})
	p.c.volumeIs(volume, models.InUse)
}
