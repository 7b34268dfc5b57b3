package handlers

import "strings"

// Names of browsers and systems by what their User-Agent contains. The order
// matters: most claim to be others as well.
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

// userAgentName is a User-Agent in words that a user knows: which browser on which
// system; else its beginning.
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
