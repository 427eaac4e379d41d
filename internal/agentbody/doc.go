// Package agentbody writes chat bodies of the shape that coding agents send: many
// short strings with escapes, calls of tools and their results, schemas of tools.
package agentbody
