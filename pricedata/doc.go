// Package pricedata keeps prices true: it reads published price data, compares
// it with the catalog, and writes the prices file.
//
// What it takes over is one-sided. A price that rose holds at once; one that
// fell, or a limit that shrank, which would lower bounds, holds only for models
// that somebody named, and the file records who and when. Nothing that was
// downloaded is ever run: genai-prices ships its data as Python source, of which
// only literals and constructor calls are understood.
//
// It is used by the command line alone, never by a running gateway.
package pricedata
