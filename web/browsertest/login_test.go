package browsertest

import (
	"net/http"
	"net/url"

	"blockconsole/models/store/storetest"
	"blockconsole/views"
)

// scenarioSignIn follows a bookmark without a session, signs in wrongly and rightly,
// lands on the bookmark, and signs out.
func scenarioSignIn(p *page) { p.signInWalk() }

// plainSignIn is the same without JavaScript.
func plainSignIn(p *page) { p.signInWalk() }

func (p *page) signInWalk() {
	p.t.Helper()
	bookmark := views.SnapshotsPath + "?q=nothing&size=100&sort=name&status=ERROR"
	p.As("")
	p.Open(bookmark)
	p.Wait("location.pathname === '/login'")
	p.Wait("document.documentElement.lang === %s", JS(p.lang))
	p.Wait("%s", By("heading", p.say.signIn))
	p.Fill("textbox", p.say.user, "admin")
	p.Fill("textbox", p.say.password, "not the password")
	if status := p.Follow("button", p.say.signIn); status != http.StatusUnauthorized {
		p.t.Errorf("a wrong password gets %d", status)
	}
	p.Wait("%s.value === 'admin' && %s.value === ''", By("textbox", p.say.user), By("textbox", p.say.password))
	p.Wait("all('alert', null)[0].textContent.includes(%s)", JS(p.say.wrong))
	p.Quiet("a wrong password", http.StatusUnauthorized)

	p.Fill("textbox", p.say.password, storetest.Password)
	p.Follow("button", p.say.signIn)
	p.Wait("location.pathname + location.search === %s", JS(bookmark))
	p.Wait("%s", By("heading", p.say.snapshots))

	p.Click("button", p.say.userMenu)
	p.Follow("button", p.say.signOut)
	p.Wait("location.pathname === '/login'")
	p.Open(views.VolumesPath)
	p.Wait("location.pathname === '/login' && new URLSearchParams(location.search).get('next') === %s", JS(views.VolumesPath))
	p.Quiet("sign-in")
}

// scenarioExpired keeps what was typed when the session ends under an open popup, and
// leads back to the list after signing in again.
func scenarioExpired(p *page) {
	list := views.VolumesPath + "?sort=name"
	p.As(p.c.NewSession("operator"))
	p.Open(list)
	p.As("")
	p.Click("link", p.say.create)
	p.Wait("location.pathname === '/login' && new URLSearchParams(location.search).get('next') === %s", JS(list))
	p.Fill("textbox", p.say.user, "operator")
	p.Fill("textbox", p.say.password, storetest.Password)
	p.Follow("button", p.say.signIn)
	p.Wait("location.pathname + location.search === %s", JS(list))
	p.Quiet("an ended session", http.StatusUnauthorized)
}

// endedWords are what a page says when its session has ended.
var endedWords = map[string]struct{ ended, beside, again, notDone string }{
	"ko": {ended: "로그인이 만료되었습니다.", beside: "이 화면에서 로그인", again: "다시 로그인했습니다.", notDone: "아직 처리되지 않았습니다."},
	"en": {ended: "The session has expired.", beside: "Sign in here", again: "You are signed in again.", notDone: "was not carried out."},
}

// scenarioExpiredPopup: the session ends under a half-filled popup. It stays, one signs
// in beside it, and goes on; another person does not get it.
func scenarioExpiredPopup(p *page) {
	say, name := endedWords[p.lang], "ended-"+p.lang
	p.As(p.c.NewSession("operator"))
	p.Open(views.VolumesPath)
	p.Mark()
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.volumeName, name)
	p.Fill("textbox", p.say.size, "1")
	p.As("")
	now[bool](p, "(document.dispatchEvent(new Event('list:refresh')), true)") // nobody clicked
	p.Told(say.ended)
	p.stillTyped(p.say.newVolume, name)
	p.Quiet("an ended session", http.StatusUnauthorized)
	p.Clean("an ended session")
	p.Click("button", say.beside)
	p.Wait("document.activeElement === %s", By("textbox", p.say.user))
	p.Press("\x1b") // not now
	p.Popup(p.say.newVolume)

	p.Click("button", p.say.create)
	p.Wait("%s", By("textbox", p.say.password))
	p.Quiet("signing in", http.StatusUnauthorized)
	p.Clean("signing in beside a popup")
	p.Fill("textbox", p.say.user, "operator")
	p.Fill("textbox", p.say.password, "not the password")
	p.Press("\r")
	p.Wait("all('alert', null)[0]?.textContent.includes(%s)", JS(p.say.wrong))
	p.Fill("textbox", p.say.password, storetest.Password)
	p.Press("\r")
	p.Popup(p.say.newVolume)
	p.Told(say.again)
	p.Wait("!document.querySelector('#messages').textContent.includes(%s)", JS(say.ended))
	p.stillTyped(p.say.newVolume, name)
	p.Click("button", p.say.create)
	p.NoPopup()
	p.HasRow(name, "AVAILABLE")
	p.NotReloaded()

	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.volumeName, name+"-secret")
	p.As("")
	p.Click("button", p.say.create)
	p.Wait("%s", By("textbox", p.say.password))
	p.Fill("textbox", p.say.user, "administrator")
	p.Fill("textbox", p.say.password, storetest.Password)
	p.Follow("button", p.say.signIn)
	p.Wait("document.readyState === 'complete' && !document.documentElement.outerHTML.includes(%s)", JS(name+"-secret"))
	if len(p.c.volumesNamed(name+"-secret")) > 0 {
		p.t.Error("it was carried out")
	}
	p.Quiet("an ended session", http.StatusUnauthorized)
}

// plainExpired: a form that is sent after the session ended comes back filled, in the
// language that is chosen on the way.
func plainExpired(p *page) {
	name := "plain-" + p.lang
	p.As(p.c.NewSession("operator"))
	p.Open(views.VolumesPath + "/new")
	p.Fill("textbox", p.say.volumeName, name)
	p.Fill("textbox", p.say.size, "3")
	p.otherLanguage()
	p.Wait("%s.value === %s", By("textbox", p.say.volumeName), JS(name))
	p.Wait("%s.value === '3'", By("textbox", p.say.size))
	p.As("")
	if status := p.Follow("button", p.say.create); status != http.StatusUnauthorized {
		p.t.Errorf("a form without a session gets %d", status)
	}
	p.otherLanguage()
	p.Fill("textbox", p.say.user, "operator")
	p.Fill("textbox", p.say.password, storetest.Password)
	p.Follow("button", p.say.signIn)
	p.Sees(endedWords[p.lang].notDone)
	p.Wait("%s.value === %s", By("textbox", p.say.volumeName), JS(name))
	p.Quiet("an ended session", http.StatusUnauthorized)
	p.Clean("a form that comes back")
	p.Follow("button", p.say.create)
	p.HasRow(name)
	p.Quiet("an ended session", http.StatusUnauthorized)
}

// otherLanguage goes to the other language and back.
func (p *page) otherLanguage() {
	p.t.Helper()
	names := map[string]string{"ko": "English", "en": "한국어"}
	other := map[string]string{"ko": "en", "en": "ko"}[p.lang]
	p.Follow("button", names[p.lang])
	p.Wait("document.documentElement.lang === %s", JS(other))
	p.Follow("button", names[other])
	p.Wait("document.documentElement.lang === %s", JS(p.lang))
}

// scenarioViewer sees everything and can press nothing; the server would refuse, too.
func scenarioViewer(p *page) {
	name := "viewed-" + p.lang
	id := p.c.volume(name)
	p.As(p.c.NewSession("viewer"))
	p.Open(views.VolumesPath)
	p.tick(name)
	p.Wait("[...document.querySelectorAll('.toolbar a, .toolbar button')].every(b => b.ariaDisabled === 'true' && b.computedName)")
	p.Click("button", p.say.remove)
	p.Wait("root() === document")
	if status := p.forge(views.VolumesPath+"/"+id+"/delete", url.Values{}); status != http.StatusForbidden {
		p.t.Errorf("a viewer's deletion gets %d", status)
	}
	p.Quiet("a viewer", http.StatusForbidden)
}
