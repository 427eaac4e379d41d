package accounting

import (
	"bufio"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"aigateway/envoy"
	"aigateway/pricing"
)

// maxOrigins is how many stored responses are remembered, the newest ones. Their
// providers keep them for a month or so.
const maxOrigins = 1 << 16

// Origins remembers who made a response that its provider stores, and where, so
// that it can be had by its id. All keys share the account at a provider, so an id
// alone proves nothing. It outlives the process, also a killed one, in a file of
// one line for each. It is safe for concurrent use; the nil one remembers nothing.
type Origins struct {
	log  *slog.Logger
	path string

	mu    sync.Mutex
	byID  map[string]origin
	order []string // of their arrival; next is the oldest once it is full
	next  int
	file  *os.File
	lines int // in the file
}

// origin is empty where two providers, or two keys, have the same id.
type origin struct{ keyID, provider string }

// OpenOrigins reads what an earlier process remembered, and keeps on. What cannot
// be read of it is forgotten: a response is then not found by its id. Close
// releases the file.
func OpenOrigins(path string, log *slog.Logger) (*Origins, error) {
	o := &Origins{log: log, path: path, byID: make(map[string]origin)}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the list of stored responses: %w", err)
	}
	damaged := o.read(file)
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("read the list of stored responses: %w", err)
	}
	if damaged > 0 {
		log.Warn("lines of the list of stored responses could not be read; those responses are not found by their ids", "path", path, "lines", damaged)
	}
	if err := o.rewrite(); err != nil {
		return nil, err
	}
	return o, nil
}

// read takes the lines that are whole, and counts the others.
func (o *Origins) read(r io.Reader) (damaged int) {
	lines := bufio.NewReaderSize(r, 1<<16)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if line != "" {
				damaged++ // torn when the process was killed
			}
			return damaged
		}
		var sum uint32
		var id string
		var of origin
		n, err := fmt.Sscanf(line, "%08x %s %s %s\n", &sum, &of.keyID, &of.provider, &id)
		if n != 4 || err != nil || originLine(id, of) != line {
			damaged++
			continue
		}
		o.keep(id, of)
	}
}

func originLine(id string, of origin) string {
	text := of.keyID + " " + of.provider + " " + id
	return fmt.Sprintf("%08x %s\n", crc32.ChecksumIEEE([]byte(text)), text)
}

// rewrite makes the file hold what is remembered and nothing else. It must be
// called with mu held, or before anybody else has o.
func (o *Origins) rewrite() error {
	var text strings.Builder
	o.lines = 0
	for i := range o.order {
		id := o.order[(o.next+i)%len(o.order)]
		if of := o.byID[id]; of != (origin{}) {
			text.WriteString(originLine(id, of))
			o.lines++
		}
	}
	temporary := o.path + ".new"
	if err := os.WriteFile(temporary, []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("write the list of stored responses: %w", err)
	}
	if err := os.Rename(temporary, o.path); err != nil {
		return fmt.Errorf("write the list of stored responses: %w", err)
	}
	file, err := os.OpenFile(o.path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the list of stored responses: %w", err)
	}
	if o.file != nil {
		_ = o.file.Close() // it was replaced
	}
	o.file = file
	return nil
}

// Close releases the file. What is observed afterwards is remembered in memory
// only.
func (o *Origins) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return nil
	}
	err := o.file.Close()
	o.file = nil
	if err != nil {
		return fmt.Errorf("close the list of stored responses: %w", err)
	}
	return nil
}

// observe remembers the response of a call that ended. The same entry may come by
// both channels.
func (o *Origins) observe(l *envoy.LogLine, token *envoy.Token) {
	if o == nil || l.AnswerID == "" || strings.ContainsFunc(l.AnswerID, func(c rune) bool { return c <= ' ' || c > '~' }) || !pricing.Stored(token.Pin) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	of := origin{token.KeyID, token.Provider}
	if !o.keep(l.AnswerID, of) || o.file == nil {
		return
	}
	_, err := o.file.WriteString(originLine(l.AnswerID, of))
	o.lines++
	if err == nil && o.lines > 2*maxOrigins {
		err = o.rewrite()
	}
	if err != nil { // it costs the ids, not the money
		o.log.Warn("a stored response is found by its id only until the next start", "error", err)
	}
}

// keep reports whether it is news. It must be called with mu held. Of two
// responses with one id neither is found.
func (o *Origins) keep(id string, of origin) bool {
	if have, ok := o.byID[id]; ok {
		if have != of {
			o.byID[id] = origin{}
		}
		return false
	}
	id = strings.Clone(id) // a part of the whole report, which would stay for it
	o.byID[id] = origin{strings.Clone(of.keyID), strings.Clone(of.provider)}
	if len(o.order) < maxOrigins {
		o.order = append(o.order, id)
		return true
	}
	delete(o.byID, o.order[o.next])
	o.order[o.next] = id
	o.next = (o.next + 1) % maxOrigins
	return true
}

// originWait is how long Provider waits for a response it does not know yet: the log
// entry of one that was just made is on its way.
const originWait = 600 * time.Millisecond

// Provider is where the response was made, with that key; false when this gateway
// has not seen that. It may wait for a moment, or until ctx ends.
func (o *Origins) Provider(ctx context.Context, keyID, id string) (string, bool) {
	if o == nil {
		return "", false
	}
	ctx, stop := context.WithTimeout(ctx, originWait)
	defer stop()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		// Another key's response is waited for like one that nobody made: the time
		// an answer takes does not tell them apart.
		if provider := o.madeWith(keyID, id); provider != "" {
			return provider, true
		}
		select {
		case <-ctx.Done():
			return "", false
		case <-tick.C:
		}
	}
}

// Foreign reports whether the provider's response with this id was made with
// another key. It waits for nothing.
func (o *Origins) Foreign(keyID, provider, id string) bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	of := o.byID[id]
	return of.provider == provider && of.keyID != keyID
}

// madeWith is the provider of a response that the key made, else empty.
func (o *Origins) madeWith(keyID, id string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if of := o.byID[id]; of.keyID == keyID {
		return of.provider
	}
	return ""
}
