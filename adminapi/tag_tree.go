package adminapi

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// node is a tag with all below it.
type node struct {
	tag            string
	requests       int64
	cost, own      budget.Amount
	below          map[string]bool // tags that have calls or a budget
	budgets        []budget.Status
	furthest, full int32 // budgets below it, and those that are used up
}

// tree is a parent and what is right below it.
type tree struct {
	parent node
	byTag  map[string]*node
}

// under are the nodes that tag belongs to: none where it is not below the parent.
func (t *tree) under(tag string) []*node {
	if tag == t.parent.tag {
		return []*node{&t.parent}
	}
	rest := tag
	if t.parent.tag != "" {
		var ok bool
		if rest, ok = strings.CutPrefix(tag, t.parent.tag+"/"); !ok {
			return nil
		}
	}
	child := tag // one that ends in a slash, or has two, is below by what comes first, too
	if len(rest) > 1 {
		if i := strings.Index(rest[1:], "/"); i >= 0 {
			child = tag[:len(tag)-len(rest)+1+i]
		}
	}
	n := t.byTag[child]
	if n == nil {
		n = &node{tag: child, below: map[string]bool{}}
		t.byTag[child] = n
	}
	nodes := []*node{&t.parent, n}
	for _, n := range nodes {
		if n.tag != tag {
			n.below[tag] = true
		}
	}
	return nodes
}

func (t *tree) addCost(c budget.TagCost) {
	for _, n := range t.under(string(c.Tag)) {
		n.requests += c.Requests
		n.cost = n.cost.Plus(c.Cost)
		if n.tag == string(c.Tag) {
			n.own = n.own.Plus(c.Cost)
		}
	}
}

func (t *tree) addBudget(b budget.Status) {
	tag := string(b.Target.Tags)
	if root, ok := b.Target.Tags.Subtree(); ok {
		tag = string(root)
	} else if b.Target.Tags == budget.AllTags {
		tag = ""
	}
	for _, n := range t.under(tag) {
		switch {
		case n.tag == tag:
			n.budgets = append(n.budgets, b)
		default:
			n.furthest++
			if b.Spent >= b.Cap {
				n.full++
			}
		}
	}
}

// GetTagTree reads the report by tag of the month and every budget once, and keeps what
// is below the parent.
func (s *overviewService) GetTagTree(ctx context.Context, req *aigatewayv1.GetTagTreeRequest) (*aigatewayv1.GetTagTreeResponse, error) {
	var want budget.TagPattern
	if req.GetParent() != "" {
		p, err := budget.ParseTagPattern("parent", req.GetParent())
		if _, isTree := p.Subtree(); err == nil && (isTree || p == budget.AllTags) {
			err = budget.Invalid("tag_invalid", "parent", fmt.Sprintf("parent is %q; write the tag alone, without **", clip(req.GetParent())))
		}
		if err != nil {
			return nil, err
		}
		want = p + "/**"
	}
	if req.Limit != nil && req.GetLimit() < 1 {
		return nil, budget.Invalid("field_invalid", "limit", fmt.Sprintf("limit is %d; ask for 1 node or more, or leave it out for all", req.GetLimit()))
	}
	window, err := s.usage.month(req.GetMonth())
	if err != nil {
		return nil, err
	}
	key := caller(ctx)
	if want != "" && !sees(key, want) {
		want = "" // what of it the key may see, which is all that it may see and is below
	}
	costs, _, err := s.usage.tagCosts(ctx, window, want)
	if err != nil {
		return nil, err
	}
	t := tree{parent: node{tag: req.GetParent(), below: map[string]bool{}}, byTag: map[string]*node{}}
	for _, c := range costs {
		t.addCost(c)
	}
	zone := s.usage.zone
	resp := &aigatewayv1.GetTagTreeResponse{From: window.Start.In(zone).Format(time.RFC3339), To: window.End.In(zone).Format(time.RFC3339), TimeZone: zone.String()}
	err = s.eachBudget(key, func(b budget.Status) {
		switch {
		case b.Target.KeyID == "":
			t.addBudget(b)
		case req.GetParent() == "":
			resp.KeyBudgets = append(resp.KeyBudgets, s.budgets.proto(&b))
		}
	})
	if err != nil {
		return nil, err
	}
	nodes := make([]*node, 0, len(t.byTag))
	for _, n := range t.byTag {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b *node) int { return cmp.Or(cmp.Compare(b.cost, a.cost), cmp.Compare(a.tag, b.tag)) })
	resp.NodeCount = int32(len(nodes)) // far below
	if req.Limit != nil {
		nodes = nodes[:min(len(nodes), int(req.GetLimit()))]
	}
	resp.Parent = s.nodeProto(&t.parent)
	for _, n := range nodes {
		resp.Nodes = append(resp.Nodes, s.nodeProto(n))
	}
	return resp, nil
}

func (s *overviewService) nodeProto(n *node) *aigatewayv1.TagNode {
	out := &aigatewayv1.TagNode{
		Tag: n.tag, Requests: n.requests, CostUsd: n.cost.String(), OwnCostUsd: n.own.String(), TagsBelow: int32(len(n.below)), // far below
		BudgetsBelow: n.furthest, FullBelow: n.full,
	}
	for i := range n.budgets {
		out.Budgets = append(out.Budgets, s.budgets.proto(&n.budgets[i]))
	}
	return out
}
