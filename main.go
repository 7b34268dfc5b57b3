// Command blockconsole is a web console for block storage.
//
//	blockconsole               serves the console
//	blockconsole passwd NAME   sets a user's password and ends its sessions
//
// Every setting is an environment variable or a flag; blockconsole -h lists them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // time zones also where the system has none

	"blockconsole/web/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// What the console writes, it writes for its own user.
	syscall.Umask(0o077)
	console := app.Main{Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if err := console.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "blockconsole:", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
}
