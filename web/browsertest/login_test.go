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
