package app

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // time zones also where the system has none
)

// RunProcess runs the console with the arguments, environment and streams of this
// process until SIGINT or SIGTERM, and returns the exit status. An error is one line
// on standard error.
func RunProcess() (status int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// What the console writes, it writes for its own user.
	syscall.Umask(0o077)
	console := Main{Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if err := console.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "blockconsole:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}
