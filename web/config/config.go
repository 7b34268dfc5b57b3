// Package config is the console's settings and its data folder.
package config

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"blockconsole/models"
)

// EnvPrefix begins the name of every environment variable of the console.
const EnvPrefix = "BLOCKCONSOLE_"

// Config is every setting. A field's tags are its documentation: env is the
// variable's name after BLOCKCONSOLE_, default its value when the variable is not
// set, doc the line in the README's table. A setting that is not secret can also
// be given as a flag of the same name in lower case with dashes.
type Config struct {
	Addr           string         `env:"ADDR" default:"127.0.0.1:8080" doc:"Address that the console listens on. Port 0 takes a free one."`
	PublicURL      *url.URL       `env:"PUBLIC_URL" doc:"Address that browsers use, such as https://console.example.com, when a proxy stands in front."`
	Data           string         `env:"DATA" default:"./data" doc:"Folder of the console's files, made with mode 0700 and locked by the process that has it."`
	Database       string         `env:"DATABASE" default:"blockconsole.db" doc:"SQLite file (a bare name is in the data folder) or postgres:// URL." secret:"maybe"`
	Backend        string         `env:"BACKEND" default:"local" doc:"What keeps the bytes: local or openstack."`
	AllProjects    bool           `env:"ALL_PROJECTS" default:"false" doc:"OpenStack: show every project (true or false)."`
	AdminPassword  string         `env:"ADMIN_PASSWORD" doc:"Password of the first user, admin; used by the first start only. Without it one is generated and printed once." secret:"yes"`
	TimeZone       *time.Location `env:"TIMEZONE" default:"Asia/Seoul" doc:"IANA name of the time zone in which times are shown."`
	TLSCert        string         `env:"TLS_CERT" doc:"PEM file of the certificate; with TLS_KEY the console speaks HTTPS."`
	TLSKey         string         `env:"TLS_KEY" doc:"PEM file of the certificate's key."`
	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" doc:"Addresses or networks, separated by commas, whose X-Forwarded-For is believed."`
	NBDAddr        string         `env:"NBD_ADDR" default:"127.0.0.1:10809" doc:"Address that servers attach volumes at; empty: off."`
	NBDTLSCert     string         `env:"NBD_TLS_CERT" doc:"PEM file of the certificate for NBD; with NBD_TLS_KEY and NBD_TLS_CA clients must speak TLS and prove their name."`
	NBDTLSKey      string         `env:"NBD_TLS_KEY" doc:"PEM file of the certificate's key."`
	NBDTLSCA       string         `env:"NBD_TLS_CA" doc:"PEM file of the authority whose clients may attach."`
	MetricsAddr    string         `env:"METRICS_ADDR" doc:"Address of the Prometheus metrics at /metrics; empty: off."`

	// Unknown are the variables that begin like ours and are none: mistyped, as a rule.
	Unknown []string

	certificate *tls.Certificate
	nbdTLS      *tls.Config
}

// Setting is one line of the settings' table.
type Setting struct{ Env, Flag, Default, Doc string }

// Settings lists every setting in the order of the struct.
func Settings() []Setting {
	var all []Setting
	for field := range configFields() {
		s := Setting{Env: EnvPrefix + field.Tag.Get("env"), Default: field.Tag.Get("default"), Doc: field.Tag.Get("doc")}
		if field.Tag.Get("secret") == "" {
			s.Flag = strings.ReplaceAll(strings.ToLower(field.Tag.Get("env")), "_", "-")
		}
		all = append(all, s)
	}
	return all
}

func configFields() func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for field := range reflect.TypeFor[Config]().Fields() {
			if field.Tag.Get("env") != "" && !yield(field) {
				return
			}
		}
	}
}

// DefineFlags adds a flag for every setting that is not secret. The returned
// function, called after parsing, gives the flags that were set as environment
// variables, to be appended to the environment.
func DefineFlags(flags *flag.FlagSet) func() []string {
	var set []string
	for _, s := range Settings() {
		if s.Flag != "" {
			flags.Func(s.Flag, s.Doc+" ("+s.Env+")", func(value string) error {
				set = append(set, s.Env+"="+value)
				return nil
			})
		}
	}
	return func() []string { return set }
}

// Load reads the settings from an environment as os.Environ gives it, where
// the last of equal names counts, and checks them. The error is one sentence that
// names the variable.
func Load(environ []string) (Config, error) {
	var c Config
	env := map[string]string{}
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok && strings.HasPrefix(name, EnvPrefix) {
			env[strings.TrimPrefix(name, EnvPrefix)] = value
		}
	}
	for field := range configFields() {
		name := field.Tag.Get("env")
		text, given := env[name]
		if !given {
			text = field.Tag.Get("default")
		}
		delete(env, name)
		if err := setField(reflect.ValueOf(&c).Elem().FieldByIndex(field.Index), text); err != nil {
			return Config{}, settingError(name, err)
		}
	}
	for name := range env {
		c.Unknown = append(c.Unknown, EnvPrefix+name)
	}
	slices.Sort(c.Unknown)
	return c, c.check()
}

func settingError(name string, err error) error { return fmt.Errorf("%s%s: %w", EnvPrefix, name, err) }

func setField(field reflect.Value, text string) error {
	switch into := field.Addr().Interface().(type) {
	case *string:
		*into = text
	case *bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		*into = v
	case **time.Location:
		zone, err := time.LoadLocation(text)
		if err != nil || text == "" {
			return fmt.Errorf("%q is not the name of a time zone, such as Asia/Seoul", text)
		}
		*into = zone
	case **url.URL:
		return setPublicURL(into, text)
	case *[]netip.Prefix:
		return setPrefixes(into, text)
	}
	return nil
}

func setPublicURL(into **url.URL, text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("%q is not a scheme and a host, such as https://console.example.com", text)
	}
	*into = &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}
	return nil
}

func setPrefixes(into *[]netip.Prefix, text string) error {
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		if word == "" || word == "none" {
			continue
		}
		prefix, err := netip.ParsePrefix(word)
		if err != nil {
			ip, ipErr := netip.ParseAddr(word)
			if ipErr != nil {
				return fmt.Errorf("%q is neither an IP address nor a network such as 10.0.0.0/8", word)
			}
			prefix = netip.PrefixFrom(ip, ip.BitLen())
		}
		*into = append(*into, prefix.Masked())
	}
	return nil
}

// check is what one field alone does not tell.
func (c *Config) check() error {
	for _, a := range []struct {
		name, value string
		needed      bool
	}{{"ADDR", c.Addr, true}, {"NBD_ADDR", c.NBDAddr, false}, {"METRICS_ADDR", c.MetricsAddr, false}} {
		if err := checkAddr(a.value, a.needed); err != nil {
			return settingError(a.name, err)
		}
	}
	if c.Data == "" {
		return settingError("DATA", errors.New("a folder is needed"))
	}
	if c.Database == "" {
		return settingError("DATABASE", errors.New("a file name or a postgres:// URL is needed"))
	}
	if c.Backend != "local" && c.Backend != "openstack" {
		return settingError("BACKEND", fmt.Errorf("%q is neither local nor openstack", c.Backend))
	}
	if c.AllProjects && c.Backend == "local" {
		return settingError("ALL_PROJECTS", fmt.Errorf("the local backend has one project; it is for %sBACKEND=openstack", EnvPrefix))
	}
	if c.AdminPassword != "" {
		// Whether it is easy to guess is checked by the start that uses it: it may stay here afterwards.
		if models.ValidatePasswordLength(c.AdminPassword) != nil {
			return settingError("ADMIN_PASSWORD", errors.New(models.PasswordRule))
		}
	}
	return c.checkTLS()
}

func checkAddr(addr string, needed bool) error {
	if addr == "" && !needed {
		return nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q is not an address with a port, such as 127.0.0.1:8080", addr)
	}
	return nil
}

// ExportHost is where servers find the volumes that are attached to them: the host
// of NBD_ADDR where it is one that can be reached, else that of PUBLIC_URL, else
// the machine's name.
func (c *Config) ExportHost() string {
	host, _, err := net.SplitHostPort(c.NBDAddr)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
		return host
	}
	if c.PublicURL != nil {
		return c.PublicURL.Hostname()
	}
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// DSN is what store.Open is given.
func (c *Config) DSN() string {
	if strings.Contains(c.Database, "://") || strings.ContainsRune(c.Database, filepath.Separator) {
		return c.Database
	}
	return filepath.Join(c.Data, c.Database)
}

// URL is where browsers find the console that listens on addr.
func (c *Config) URL(addr net.Addr) string {
	if c.PublicURL != nil {
		return c.PublicURL.String()
	}
	scheme := "http"
	if c.certificate != nil {
		scheme = "https"
	}
	host := addr.String()
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		host = net.JoinHostPort("localhost", strconv.Itoa(tcp.Port))
	}
	return scheme + "://" + host
}
