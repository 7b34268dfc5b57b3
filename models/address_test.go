package models_test

import (
	"fmt"
	"strings"
	"testing"

	"blockconsole/models"
)

func TestValidateServerName(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "web-1": true, "db_1.example.com": true, strings.Repeat("x", 64): true, "": false, strings.Repeat("x", 65): false,
		"web 1": false, "서버": false, "web\x00": false, "web/1": false, "ｗｅｂ": false, "web\n": false, " web": false, "<b>": false,
	} {
		if got := models.ValidateServerName(name) == nil; got != ok {
			t.Errorf("name %q: %v", name, got)
		}
	}
}

func TestParseAddresses(t *testing.T) {
	for typed, want := range map[string]string{
		"10.0.0.5": "10.0.0.5", " 10.0.0.5 ,10.1.0.0/24": "10.0.0.5, 10.1.0.0/24", "2001:DB8:0::5": "2001:db8::5", "::ffff:10.0.0.5": "10.0.0.5",
		"10.0.0.5/32": "10.0.0.5", "10.0.0.5,10.0.0.5": "10.0.0.5", "::ffff:10.0.0.0/120": "10.0.0.0/24", "0.0.0.0/0": "0.0.0.0/0", "10.0.0.5,,": "10.0.0.5", "fe80::1": "fe80::1",
	} {
		if got, wrong := models.ParseAddresses(typed); wrong != nil || got != want {
			t.Errorf("%q became %q, %v", typed, got, wrong)
		}
	}
	for typed, want := range map[string]string{
		"": "server.address_required", " , ": "server.address_required", "web-1": "server.address_invalid", "10.0.0": "server.address_invalid",
		"10.0.0.5/33": "server.address_invalid", "10.0.0.5/8": "server.address_host_bits", "0.0.0.0": "server.address_nobody", "::": "server.address_nobody",
		"224.0.0.1": "server.address_nobody", "255.255.255.255": "server.address_nobody", "fe80::1%eth0": "server.address_invalid", "010.0.0.1": "server.address_invalid",
		"10.0.0.5;10.0.0.6": "server.address_invalid", strings.Repeat("9", 100_000): "server.address_invalid", "\xff\x00": "server.address_invalid",
		strings.Repeat("10.0.0.0/8,", 10) + "x": "server.address_invalid",
	} {
		if got, wrong := models.ParseAddresses(typed); wrong == nil || wrong.Key != want || len(strings.Join(wrong.Args, "")) > 300 {
			t.Errorf("%.40q became %q, %v", typed, got, wrong)
		}
	}
	many := ""
	for i := range models.AddressesMax + 1 {
		many += fmt.Sprintf("10.0.0.%d,", i+1)
	}
	if _, wrong := models.ParseAddresses(many); wrong == nil || wrong.Key != "server.address_many" {
		t.Errorf("%v", wrong)
	}
}

func FuzzParseAddresses(f *testing.F) {
	for _, s := range []string{"10.0.0.5", "10.0.0.0/8, 2001:db8::/32", "::ffff:1.2.3.4", "a,b", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		normal, wrong := models.ParseAddresses(typed)
		if wrong != nil {
			return
		}
		if again, wrong := models.ParseAddresses(normal); wrong != nil || again != normal {
			t.Errorf("%q became %q and then %q, %v", typed, normal, again, wrong)
		}
		s := models.Server{ID: "a", Address: normal}
		if len(models.Overlaps([]models.Server{s, {ID: "b", Address: normal}})) != 2 {
			t.Errorf("%q does not overlap itself", normal)
		}
	})
}

func TestOverlaps(t *testing.T) {
	servers := []models.Server{{ID: "net", Name: "net", Address: "10.0.0.0/24"}, {ID: "in", Name: "in", Address: "192.0.2.1, 10.0.0.7"},
		{ID: "out", Name: "out", Address: "10.0.1.7"}, {ID: "six", Name: "six", Address: "2001:db8::/32"}, {ID: "none"}}
	shared := models.Overlaps(servers)
	if len(shared) != 2 || shared["net"][0].ID != "in" || shared["in"][0].Name != "net" {
		t.Errorf("%v", shared)
	}
}
