package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"aigateway/gatewayconfig"
	"aigateway/ledger"
)

// dataDir is where a command finds the data directory: what --data-dir or
// --config names, else $AIGATEWAY_DATA_DIR, else that of the gateway which runs
// on this machine, else the default one.
type dataDir struct {
	a            *app
	path, config string
}

func (a *app) dataDirFlags(c *cobra.Command) *dataDir {
	d := &dataDir{a: a}
	c.PersistentFlags().StringVar(&d.path, "data-dir", "", "data `directory` of the gateway (default $"+gatewayconfig.EnvDataDir+", else that of the gateway which runs here)")
	c.PersistentFlags().StringVar(&d.config, "config", "", "configuration `file` of the gateway, for its data_dir")
	return d
}

// named is the directory that the user chose, empty if none was.
func (d *dataDir) named() (string, error) {
	switch {
	case d.path != "" && d.config != "":
		return "", &usageError{message: "--data-dir and --config are both given; give one", hint: "--config reads data_dir of that file"}
	case d.config != "":
		config, err := d.a.bootstrapSource(d.config)
		if err != nil {
			return "", configError(err)
		}
		return config.DataDir, nil
	case d.path != "":
		return d.path, nil
	default:
		return d.a.getenv(gatewayconfig.EnvDataDir), nil
	}
}

// existing is the data directory, which has a ledger.
func (d *dataDir) existing() (string, error) {
	dir, err := d.find()
	if err != nil || ledger.Exists(dir) {
		return dir, err
	}
	return "", withHint(fmt.Errorf("there is no ledger in %s", dir), chooseDataDir)
}

const chooseDataDir = "name the gateway's data directory with --data-dir, or its configuration file with --config"

// find is the data directory, which may not exist. Nobody chose the default
// one, so it is refused where another may be meant.
func (d *dataDir) find() (string, error) {
	dir, err := d.named()
	if err != nil || dir != "" {
		return dir, err
	}
	dir = gatewayconfig.DataDir(d.a.getenv)
	if dir == "" {
		return "", withHint(fmt.Errorf("the environment names no data directory"), chooseDataDir)
	}
	running, hidden := runningGateways(d.a.proc)
	switch {
	case slices.Contains(running, dir) || len(running) == 0 && len(hidden) == 0:
		return dir, nil
	case len(running) == 1 && len(hidden) == 0:
		d.a.notef("using the data directory of the gateway that runs here, %s", running[0])
		return running[0], nil
	case len(running) == 0:
		return "", withHint(fmt.Errorf("another user runs a gateway here (process %s), and its data directory cannot be seen; the default one, %s, may not be meant", strings.Join(hidden, ", "), dir), chooseDataDir)
	default:
		return "", withHint(fmt.Errorf("several gateways run here, none in the default data directory %s: %s", dir, strings.Join(append(running, hidden...), ", ")), chooseDataDir)
	}
}

// runningGateways looks through proc, Linux's /proc, for gateways: the data
// directories of those that may be looked into, which are the user's own or, for
// root, all; and the process numbers of the others.
func runningGateways(proc string) (dirs, hidden []string) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, nil // not Linux: only the default can be taken
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !isGateway(filepath.Join(proc, e.Name(), "cmdline")) {
			continue
		}
		fds := filepath.Join(proc, e.Name(), "fd")
		open, err := os.ReadDir(fds)
		if err != nil {
			hidden = append(hidden, e.Name())
			continue
		}
		for _, fd := range open {
			target, err := os.Readlink(filepath.Join(fds, fd.Name()))
			if dir, file := filepath.Split(target); err == nil && file == ledger.LockFile {
				dirs = append(dirs, filepath.Clean(dir))
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), hidden
}

// isGateway reports whether a process's command line is one of `aigateway run`
// or `aigateway serve`, under any name of the binary's that has aigateway in it.
func isGateway(file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	args := strings.Split(string(text), "\x00")
	return strings.Contains(filepath.Base(args[0]), "aigateway") && (slices.Contains(args[1:], "run") || slices.Contains(args[1:], "serve"))
}
