// Command blockconsole is a web console for block storage.
//
//	blockconsole               serves the console
//	blockconsole passwd NAME   sets a user's password and ends its sessions
//
// Every setting is an environment variable or a flag; blockconsole -h lists them.
package main

import (
	"os"

	"blockconsole/web/app"
)

func main() { os.Exit(app.RunProcess()) }
