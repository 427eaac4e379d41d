// Package reconciliationtest stands in for the usage and cost APIs of OpenAI and
// Anthropic: it pages, groups, authenticates and refuses as they document, and
// is busy on request. The tests of package reconciliation and of the command
// use it.
package reconciliationtest
