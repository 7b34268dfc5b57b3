package handlers

import "strings"

// Names of browsers and systems by what their User-Agent contains. The first match
// counts, since most also claim to be others.
var (
	browsers = []struct{ mark, name string }{
		{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Whale/", "Whale"}, {"SamsungBrowser/", "Samsung Internet"}, {"Firefox/", "Firefox"},
		{"HeadlessChrome/", "Chromium"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"}, {"Go-http-client/", "Go"},
	}
	systems = []struct{ mark, name string }{
		{"Windows", "Windows"}, {"Android", "Android"}, {"iPhone", "iOS"}, {"iPad", "iPadOS"}, {"Mac OS X", "macOS"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"},
	}
)

const maxUserAgentRunes = 60

// userAgentName names the browser and the system of a User-Agent; an unknown one is
// cut.
func userAgentName(userAgent string) string {
	name := ""
	for _, b := range browsers {
		if strings.Contains(userAgent, b.mark) {
			name = b.name
			break
		}
	}
	if name == "" {
		if runes := []rune(userAgent); len(runes) > maxUserAgentRunes {
			return string(runes[:maxUserAgentRunes]) + "…"
		}
		return userAgent
	}
	for _, s := range systems {
		if strings.Contains(userAgent, s.mark) {
			return name + " · " + s.name
		}
	}
	return name
}
