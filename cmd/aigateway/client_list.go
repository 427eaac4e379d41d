package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// pageSize is what a list asks for at a time; the server may give less.
const pageSize = 500

// page is one answer of a list method.
type page[T any] interface {
	// items returns the rows, and the token of the next page, "" at the end.
	items() ([]T, string)
}

// ask gets what a command shows.
func ask[T any](a *app, c *cobra.Command, f *clientFlags, path string, query url.Values) (answer T, err error) {
	cl, err := a.client(c, f)
	if err == nil {
		err = cl.call(c.Context(), http.MethodGet, path, query, nil, &answer)
	}
	return answer, err
}

// askAll gets every page of the list that a command shows.
func askAll[P page[T], T any](a *app, c *cobra.Command, f *clientFlags, path string, query url.Values) ([]T, error) {
	cl, err := a.client(c, f)
	if err != nil {
		return nil, err
	}
	return listAll[P](c.Context(), cl, path, query)
}

// listAll reads every page of a list. P is the answer's type.
func listAll[P page[T], T any](ctx context.Context, c *client, path string, query url.Values) ([]T, error) {
	q := url.Values{}
	for k, v := range query {
		q[k] = v
	}
	q.Set("page_size", strconv.Itoa(pageSize))
	all := []T{}
	for last := ""; ; {
		var p P
		if err := c.call(ctx, http.MethodGet, path, q, nil, &p); err != nil {
			return nil, err
		}
		rows, next := p.items()
		all = append(all, rows...)
		if next == "" {
			return all, nil
		}
		if next == last { // would never end
			return nil, errors.New("the server's answer names the same next page again")
		}
		last = next
		q.Set("page_token", next)
	}
}
