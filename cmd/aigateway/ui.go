package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

func newUICommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "ui", Short: "Print an address of the page that signs in once",
		Long: `Prints an address at which a browser is signed in with the key of this command,
once and within five minutes: open it, and paste no key.`,
		Example: "  aigateway ui\n  xdg-open $(aigateway ui)", Args: arguments(),
	}
	f := &clientFlags{}
	f.bind(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cl, err := a.client(c, f)
		if err != nil {
			return err
		}
		var made struct {
			Path string `json:"path"`
		}
		if err := cl.call(c.Context(), http.MethodPost, "/ui/ticket", nil, nil, &made); err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.stdout, cl.base.Scheme+"://"+cl.base.Host+clean(made.Path))
		return err
	}
	return c
}
