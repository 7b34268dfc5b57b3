package i18n

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestT_Languages(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	if got := T(ctx, "action.create"); got != "생성" {
		t.Errorf("default language: %q", got)
	}
	if got := T(WithLang(ctx, English), "action.create"); got != "Create" {
		t.Errorf("English: %q", got)
	}
	if got := T(WithLang(ctx, "fr"), "action.create"); got != "생성" {
		t.Errorf("unknown language: %q", got)
	}
	if got := T(ctx, "no.such.key"); got != "⟦no.such.key⟧" {
		t.Errorf("missing key: %q", got)
	}
	if got := T(ctx, "failure.no_space", "1610612736", "-1"); !strings.Contains(got, "1.5 GiB") || !strings.Contains(got, "알 수 없음") {
		t.Errorf("bytes: %q", got)
	}
	if got := T(WithLang(ctx, English), "failure.quota", "snapshots", 10, 1234, 1); !strings.Contains(got, "Block Snapshots") || !strings.Contains(got, "limit 1,234") {
		t.Errorf("kinds of arguments: %q", got)
	}
	if got := T(ctx, "deny.status"); strings.Contains(got, "%") || strings.Contains(got, "{") {
		t.Errorf("missing argument: %q", got)
	}
}

func TestN_PluralForms(t *testing.T) {
	t.Parallel()
	en := WithLang(context.Background(), English)
	for n, want := range map[int64]string{0: "0 seconds ago", 1: "1 second ago", 2: "2 seconds ago", 1234: "1,234 seconds ago"} {
		if got := N(en, "ago.second", n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := N(context.Background(), "ago.second", 1); got != "1초 전" {
		t.Errorf("Korean has one form: %q", got)
	}
}

func TestMatch_AcceptLanguage(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"": "ko", "*": "ko", "ko-KR,ko;q=0.9,en;q=0.8": "ko", "en-US,en;q=0.9": "en", "en-GB": "en",
		"fr-FR,fr;q=0.9": "ko", "fr,en;q=0.5": "en", "ja,ko;q=0.3": "ko", ";;;=": "ko", strings.Repeat("a", 10000): "ko",
	} {
		if got := Match(header); got != want {
			t.Errorf("%.30q: %s, want %s", header, got, want)
		}
	}
}

func TestParticle(t *testing.T) {
	t.Parallel()
	tests := []struct{ word, with, out, want string }{
		{"볼륨", "을", "를", "을"}, {"스냅샷", "을", "를", "을"}, {"서버", "을", "를", "를"}, {"데이터", "이", "가", "가"},
		{"서울", "으로", "로", "로"}, {"부산", "으로", "로", "으로"}, {"제주", "으로", "로", "로"},
		{"db-1530", "을", "를", "을"}, {"web-1", "을", "를", "을"}, {"web-1", "으로", "로", "로"}, {"web-2", "이", "가", "가"}, {"web-3", "으로", "로", "으로"},
		{"snapshot", "을", "를", "을(를)"}, {"", "을", "를", "을(를)"}, {"볼륨'", "을", "를", "을"}, {"🗄", "은", "는", "은(는)"},
	}
	for _, tt := range tests {
		if got := Particle(tt.word, tt.with, tt.out); got != tt.want {
			t.Errorf("%q with %s/%s: %s, want %s", tt.word, tt.with, tt.out, got, tt.want)
		}
	}
}

func FuzzParticle(f *testing.F) {
	f.Add("볼륨")
	f.Add("web-1\xff")
	f.Fuzz(func(t *testing.T, word string) {
		switch got := Particle(word, "을", "를"); got {
		case "을", "를", "을(를)":
		default:
			t.Errorf("%q: %q", word, got)
		}
	})
}

func TestFormat_NumberBytesAgo(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 12: "12"} {
		if got := Number(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 1 << 30: "1 GiB", 5 << 40: "5 TiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for ago, want := range map[time.Duration]string{-time.Minute: "0초 전", 3 * time.Second: "3초 전", 90 * time.Second: "1분 전", 25 * time.Hour: "1일 전", 5 * time.Hour: "5시간 전"} {
		if got := Ago(context.Background(), now.Add(-ago), now); got != want {
			t.Errorf("%s: %q, want %q", ago, got, want)
		}
	}
}

func TestParse_Invalid(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"{", "{x}", "{12}", "{0|}", "{0|a}", "{0:}", "{-1}"} {
		if _, err := parse(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}
