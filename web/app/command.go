package app

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/term"

	"blockconsole/models"
	"blockconsole/web/config"
)

// configure reads the settings, and returns the command that follows the flags:
// none to serve. The error is flag.ErrHelp when the settings are asked for.
func (m *Main) configure() (command []string, err error) {
	m.Stdout, m.Stderr = cmp.Or(m.Stdout, io.Discard), cmp.Or(m.Stderr, io.Discard)
	if m.Now == nil {
		m.Now = time.Now
	}
	if m.Log == nil {
		m.Log = slog.New(slog.NewJSONHandler(m.Stderr, nil))
	}
	if m.Registry == nil {
		m.Registry = prometheus.NewRegistry()
	}
	flags, given := newFlags(io.Discard) // an error is one sentence
	if err := flags.Parse(m.Args); errors.Is(err, flag.ErrHelp) {
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%w; blockconsole -h lists the settings", err)
	}
	if m.Config, err = config.Load(slices.Concat(m.Environ, given())); err != nil {
		return nil, err
	}
	for _, name := range m.Config.Unknown {
		m.Log.Warn("unknown setting", "variable", name)
	}
	return flags.Args(), nil
}

func newFlags(output io.Writer) (flags *flag.FlagSet, given func() []string) {
	flags = flag.NewFlagSet("blockconsole", flag.ContinueOnError)
	flags.SetOutput(output)
	return flags, config.DefineFlags(flags)
}

func (m *Main) help() error {
	_, err := fmt.Fprint(m.Stdout, "blockconsole [settings]               serves the console\n",
		"blockconsole [settings] passwd NAME   sets a user's password and ends its sessions\n\n",
		"Settings are environment variables or, where they are no secrets, flags:\n\n")
	flags, _ := newFlags(m.Stdout)
	flags.PrintDefaults()
	return err
}

// setPassword sets the password of a user, for the administrator of the host. It
// works beside a running console.
func (m *Main) setPassword(ctx context.Context, name string) error {
	if !strings.Contains(m.Config.DSN(), "://") {
		if _, err := os.Stat(m.Config.DSN()); err != nil {
			return fmt.Errorf("there is no database at %s; check BLOCKCONSOLE_DATA and BLOCKCONSOLE_DATABASE, or start the console once", m.Config.DSN())
		}
	}
	if err := m.openStore(ctx); err != nil {
		return err
	}
	return errors.Join(m.changePassword(ctx, name), m.Close())
}

func (m *Main) changePassword(ctx context.Context, name string) error {
	password, err := readPassword(name, m.Stdin, m.Stdout)
	if err != nil {
		return err
	}
	err = m.Store.Users.SetPasswordByName(ctx, models.TrimSpace(name), password)
	e := models.AsError(err)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return fmt.Errorf("there is no user %q", name)
	case e != nil && e.Code == models.CodeInvalid:
		return errors.New(models.PasswordRule)
	case err != nil:
		return err
	}
	fmt.Fprintf(m.Stdout, "The password of %s is set, and its sessions are ended.\n", name)
	return nil
}

// readPassword asks twice on a terminal, without showing it; otherwise it reads
// one line.
func readPassword(name string, stdin io.Reader, stdout io.Writer) (string, error) {
	file, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		line, err := bufio.NewReader(stdin).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	var typed [2]string
	for i, prompt := range []string{"New password of " + name + ": ", "Again: "} {
		fmt.Fprint(stdout, prompt)
		b, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(stdout)
		if err != nil {
			return "", err
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return typed[0], nil
}
