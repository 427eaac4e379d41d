package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"aigateway/adminapi"
)

// format is the value of -o: how data is written to standard output.
type format struct{ name string }

func formats() []string { return []string{"table", "json", "yaml", "csv"} }

func (f *format) String() string { return f.name }
func (f *format) Type() string   { return strings.Join(formats(), "|") }

// Set implements pflag.Value.
func (f *format) Set(s string) error {
	if !slices.Contains(formats(), s) {
		return fmt.Errorf("use one of %s", strings.Join(formats(), ", "))
	}
	f.name = s
	return nil
}

// outputFlag adds -o.
func outputFlag(c *cobra.Command) *format {
	f := &format{name: "table"}
	c.Flags().VarP(f, "output", "o", "how to print the data")
	return f
}

// column is one column of a table.
type column struct {
	title string
	csv   string // its name in a csv; empty: the title in snake_case
	right bool   // numbers line up at their last digit
	money bool   // exact dollars: zeros are added so that the points line up
}

func left(title string) column  { return column{title: title} }
func right(title string) column { return column{title: title, right: true} }
func money(title string) column { return column{title: title, right: true, money: true} }

// table is data as rows of text.
type table struct {
	columns []column
	rows    [][]string
	// empty is what a person reads, on standard error, when there are no rows.
	empty string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes doc, or t for table and csv, in format f.
func (a *app) print(f *format, doc any, t *table) error {
	if len(t.rows) == 0 && t.empty != "" {
		a.notef("%s", t.empty)
		if f.name == "table" {
			return nil
		}
	}
	switch f.name {
	case "json":
		return writeJSON(a.stdout, doc)
	case "yaml":
		return writeYAML(a.stdout, doc)
	case "csv":
		return t.writeCSV(a.stdout)
	}
	return t.write(a.stdout)
}

// write prints the table for a terminal.
func (t *table) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range t.aligned() {
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

// aligned is the header and the rows as a terminal shows them. tabwriter knows
// one alignment for all cells, so right-aligned ones are padded before it sees
// them.
func (t *table) aligned() [][]string {
	out := [][]string{t.titles()}
	for _, row := range t.rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = cleanCell(cell)
		}
		out = append(out, cells)
	}
	for i, c := range t.columns {
		if c.money {
			alignPoints(out[1:], i)
		}
		if c.right {
			alignRight(out, i)
		}
	}
	return out
}

func alignRight(rows [][]string, i int) {
	width := 0
	for _, row := range rows {
		width = max(width, utf8.RuneCountInString(row[i]))
	}
	for _, row := range rows {
		row[i] = strings.Repeat(" ", width-utf8.RuneCountInString(row[i])) + row[i]
	}
}

func alignPoints(rows [][]string, i int) {
	decimals := func(s string) int {
		_, frac, _ := strings.Cut(s, ".")
		return len(frac)
	}
	most := 0
	for _, row := range rows {
		most = max(most, decimals(row[i]))
	}
	for _, row := range rows {
		if n := decimals(row[i]); n > 0 {
			row[i] += strings.Repeat("0", most-n)
		}
	}
}

func (t *table) titles() []string {
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
	}
	return titles
}

// writeCSV prints RFC 4180 with a header in snake_case; an empty table is the
// header alone, so that a program reading it sees no special case.
func (t *table) writeCSV(w io.Writer) error {
	records := [][]string{make([]string, len(t.columns))}
	for i, c := range t.columns {
		records[0][i] = c.csv
		if c.csv == "" {
			records[0][i] = strings.ReplaceAll(strings.ToLower(c.title), " ", "_")
		}
	}
	for _, row := range t.rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = cell
			if !t.columns[i].right {
				cells[i] = adminapi.Inert(cell)
			}
		}
		records = append(records, cells)
	}
	if err := csv.NewWriter(w).WriteAll(records); err != nil {
		return fmt.Errorf("write the csv: %w", err)
	}
	return nil
}

func writeJSON(w io.Writer, doc any) error {
	text, err := json.Marshal(doc, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%s\n", text); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// writeJSONLine prints doc on one line.
func writeJSONLine(w io.Writer, doc any) error {
	text, err := json.Marshal(doc, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%s\n", text); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// writeYAML prints doc with the names and the order it has in JSON.
func writeYAML(w io.Writer, doc any) error {
	text, err := json.Marshal(doc, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	node, err := yamlNode(jsontext.NewDecoder(strings.NewReader(string(text))))
	if err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	out, err := yaml.Dump(node, yaml.WithV3Defaults(), yaml.WithIndent(2), yaml.WithLineWidth(-1), yaml.WithUnicode(true))
	if err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// yamlNode reads one JSON value as a YAML node.
func yamlNode(d *jsontext.Decoder) (*yaml.Node, error) {
	tok, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case 'n':
		return scalar("!!null", "null"), nil
	case 't', 'f':
		return scalar("!!bool", tok.String()), nil
	case '0':
		return scalar(numberTag(tok.String()), tok.String()), nil
	case '"':
		n := scalar("!!str", tok.String())
		if oldBool(n.Value) {
			n.Style = yaml.DoubleQuotedStyle
		}
		return n, nil
	case '[':
		return yamlContainer(d, yaml.SequenceNode, "!!seq", ']')
	case '{':
		return yamlContainer(d, yaml.MappingNode, "!!map", '}')
	}
	return nil, errors.New("unexpected end of a JSON value")
}

func yamlContainer(d *jsontext.Decoder, kind yaml.Kind, tag string, end jsontext.Kind) (*yaml.Node, error) {
	n := &yaml.Node{Kind: kind, Tag: tag}
	for d.PeekKind() != end {
		child, err := yamlNode(d)
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, child)
	}
	_, err := d.ReadToken()
	return n, err
}

// oldBool reports a word that YAML 1.1, which many readers still speak, takes
// for a boolean: a tag named "on" must stay one.
func oldBool(s string) bool {
	return slices.Contains([]string{"y", "n", "yes", "no", "on", "off"}, strings.ToLower(s))
}

func scalar(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

func numberTag(s string) string {
	if strings.ContainsAny(s, ".eE") {
		return "!!float"
	}
	return "!!int"
}
