// Command coredns is CoreDNS with the plugins that a lab cluster uses, and no
// others: the upstream command links every cloud's SDK, minutes of building.
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

func main() { coremain.Run() }
