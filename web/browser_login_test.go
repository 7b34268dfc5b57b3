package web

import (
	"net/http"
	"net/url"

	"blockconsole/views"
)

// walkSignIn follows a bookmark without a session, signs in wrongly and rightly,
// lands on the bookmark, and signs out.
func walkSignIn(p *page) { p.signInWalk() }

// plainSignIn is the same without JavaScript.
func plainSignIn(p *page) { p.signInWalk() }

func (p *page) signInWalk() {
	p.t.Helper()
	bookmark := views.SnapshotsPath + "?q=nothing&size=100&sort=name&status=ERROR"
	p.as("")
	p.open(bookmark)
	p.wait("location.pathname === '/login'")
	p.wait("document.documentElement.lang === %s", js(p.lang))
	p.wait("%s", by("heading", p.say.signIn))
	p.fill("textbox", p.say.user, "admin")
	p.fill("textbox", p.say.password, "not the password")
	if status := p.follow("button", p.say.signIn); status != http.StatusUnauthorized {
		p.t.Errorf("a wrong password gets %d", status)
	}
	p.wait("%s.value === 'admin' && %s.value === ''", by("textbox", p.say.user), by("textbox", p.say.password))
	p.wait("all('alert', null)[0].textContent.includes(%s)", js(p.say.wrong))
	p.quiet("a wrong password", http.StatusUnauthorized)

	p.fill("textbox", p.say.password, testPassword)
	p.follow("button", p.say.signIn)
	p.wait("location.pathname + location.search === %s", js(bookmark))
	p.wait("%s", by("heading", p.say.snapshots))

	p.click("button", p.say.userMenu)
	p.follow("button", p.say.signOut)
	p.wait("location.pathname === '/login'")
	p.open(views.VolumesPath)
	p.wait("location.pathname === '/login' && new URLSearchParams(location.search).get('next') === %s", js(views.VolumesPath))
	p.quiet("sign-in")
}

// walkExpired keeps what was typed when the session ends under an open popup, and
// leads back to the list after signing in again.
func walkExpired(p *page) {
	list := views.VolumesPath + "?sort=name"
	p.as(p.w.session(p.t, "operator"))
	p.open(list)
	p.as("")
	p.click("link", p.say.create)
	p.wait("location.pathname === '/login' && new URLSearchParams(location.search).get('next') === %s", js(list))
	p.fill("textbox", p.say.user, "operator")
	p.fill("textbox", p.say.password, testPassword)
	p.follow("button", p.say.signIn)
	p.wait("location.pathname + location.search === %s", js(list))
	p.quiet("an ended session", http.StatusUnauthorized)
}

// walkViewer sees everything and can press nothing; the server would refuse, too.
func walkViewer(p *page) {
	name := "viewed-" + p.lang
	id := p.w.volume(p.t, name)
	p.as(p.w.session(p.t, "viewer"))
	p.open(views.VolumesPath)
	p.tick(name)
	p.wait("[...document.querySelectorAll('.toolbar a, .toolbar button')].every(b => b.ariaDisabled === 'true' && b.computedName)")
	p.click("button", p.say.remove)
	p.wait("root() === document")
	if status := p.forge(views.VolumesPath+"/"+id+"/delete", url.Values{}); status != http.StatusForbidden {
		p.t.Errorf("a viewer's deletion gets %d", status)
	}
	p.quiet("a viewer", http.StatusForbidden)
}
