package accounting

import "context"

// Evidence is what an entry proves.
var Evidence = evidence

// Begin does what Run does before its first step.
func (s *Spool) Begin() { s.position = s.ledger.SpoolPosition() }

// Step is one round of Run.
func (s *Spool) Step(ctx context.Context) (more bool, err error) { return s.step(ctx) }

// Close lets go of the file, as Run does at its end.
func (s *Spool) Close() { s.close() }

// MaxLine is the longest line that is read.
const MaxLine = maxLine
