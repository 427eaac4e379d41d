// Package protodeps prints the third-party protos that ours import, from the
// descriptors linked into Go modules: the same versions that the generated code
// runs with, and no schema registry. Package generate calls it; nothing ships.
package protodeps

import (
	"fmt"

	"github.com/jhump/protoreflect/v2/protoprint"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Print writes google/api/*.proto under dir, as far as our protos need them.
func Print(dir string) error {
	files := []protoreflect.FileDescriptor{
		annotations.File_google_api_annotations_proto,
		annotations.File_google_api_field_behavior_proto,
		annotations.File_google_api_http_proto,
	}
	printer := protoprint.Printer{SortElements: true}
	if err := printer.PrintProtosToFileSystem(files, dir); err != nil {
		return fmt.Errorf("print protos to %s: %w", dir, err)
	}
	return nil
}
