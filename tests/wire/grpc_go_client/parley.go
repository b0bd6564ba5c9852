package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

type object = map[string]any

// An api is what a server says of itself by reflection; messages are JSON here.
type api struct {
	conn  *grpc.ClientConn
	files *protoregistry.Files
	json  protojson.MarshalOptions
}

func reflected(ctx context.Context, conn *grpc.ClientConn, services ...string) (*api, error) {
	asked, err := reflection.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	for _, service := range services {
		request := &reflection.ServerReflectionRequest{
			MessageRequest: &reflection.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service},
		}
		if err := asked.Send(request); err != nil {
			return nil, err
		}
		answer, err := asked.Recv()
		if err != nil {
			return nil, err
		}
		for _, encoded := range answer.GetFileDescriptorResponse().GetFileDescriptorProto() {
			file := &descriptorpb.FileDescriptorProto{}
			if err := proto.Unmarshal(encoded, file); err != nil {
				return nil, err
			}
			if !seen[file.GetName()] {
				seen[file.GetName()] = true
				set.File = append(set.File, file)
			}
		}
	}
	if err := asked.CloseSend(); err != nil {
		return nil, err
	}
	if _, err := asked.Recv(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reflection did not end: %w", err)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, err
	}
	return &api{conn, files, protojson.MarshalOptions{EmitUnpopulated: true}}, nil
}

// method finds service/method.
func (a *api) method(name string) (protoreflect.MethodDescriptor, error) {
	service, method, _ := strings.Cut(name, "/")
	found, err := a.files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, err
	}
	return found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(method)), nil
}

func filled(kind protoreflect.MessageDescriptor, content object) (proto.Message, error) {
	encoded, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	message := dynamicpb.NewMessage(kind)
	return message, protojson.Unmarshal(encoded, message)
}

func (a *api) content(message proto.Message) (object, error) {
	encoded, err := a.json.Marshal(message)
	if err != nil {
		return nil, err
	}
	content := object{}
	return content, json.Unmarshal(encoded, &content)
}

// call makes a unary call.
func (a *api) call(ctx context.Context, name string, request object) (object, error) {
	method, err := a.method(name)
	if err != nil {
		return nil, err
	}
	sent, err := filled(method.Input(), request)
	if err != nil {
		return nil, err
	}
	got := dynamicpb.NewMessage(method.Output())
	if err := a.conn.Invoke(ctx, "/"+name, sent, got); err != nil {
		return nil, err
	}
	return a.content(got)
}

// A device is somebody's stream.
type device struct {
	api    *api
	method protoreflect.MethodDescriptor
	stream grpc.ClientStream
}

func (d *device) send(content object) error {
	message, err := filled(d.method.Input(), content)
	if err != nil {
		return err
	}
	return d.stream.SendMsg(message)
}

// until receives frames until `found` says so.
func (d *device) until(what string, found func(object) bool) error {
	for {
		message := dynamicpb.NewMessage(d.method.Output())
		if err := d.stream.RecvMsg(message); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		content, err := d.api.content(message)
		if err != nil {
			return err
		}
		if found(content) {
			return nil
		}
	}
}

// path follows keys into nested objects.
func path(content object, keys ...string) any {
	var at any = content
	for _, key := range keys {
		inner, ok := at.(object)
		if !ok {
			return nil
		}
		at = inner[key]
	}
	return at
}

func uuid7() string {
	var id [16]byte
	rand.Read(id[:])
	millis := time.Now().UnixMilli()
	for at := range 6 {
		id[at] = byte(millis >> (40 - 8*at))
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// parleyNode signs two people up, connects both, and has one write to the other.
func parleyNode(r *run) error {
	node, err := reflected(r.ctx, r.conn,
		"parley.auth.v1.AuthService", "parley.channel.v1.ChannelService", "parley.chat.v1.ChatService")
	if err != nil {
		return err
	}
	people := map[string]*struct {
		ctx    context.Context
		id     string
		device *device
	}{"anna": {}, "bert": {}}
	for name, person := range people {
		answer, err := node.call(r.ctx, "parley.auth.v1.AuthService/SignUp", object{
			"username": name, "password": "correct horse battery", "request_id": uuid7(),
		})
		if err != nil {
			return fmt.Errorf("sign-up: %w", err)
		}
		person.id, _ = path(answer, "user", "userId").(string)
		token, _ := path(answer, "tokens", "accessToken").(string)
		person.ctx = metadata.AppendToOutgoingContext(r.ctx, "authorization", "Bearer "+token)
		method, err := node.method("parley.chat.v1.ChatService/Connect")
		if err != nil {
			return err
		}
		opened, err := r.conn.NewStream(person.ctx, anyStream, "/parley.chat.v1.ChatService/Connect")
		if err != nil {
			return err
		}
		person.device = &device{node, method, opened}
		if err := person.device.send(object{"hello": object{"client": "grpc-go", "foreground": true}}); err != nil {
			return err
		}
		if err := person.device.until("caught up", func(frame object) bool {
			for _, control := range frame["controls"].([]any) {
				if path(control.(object), "caughtUp") != nil {
					return true
				}
			}
			return false
		}); err != nil {
			return err
		}
	}
	anna, bert := people["anna"], people["bert"]
	answer, err := node.call(anna.ctx, "parley.channel.v1.ChannelService/CreateDirectChannel",
		object{"user_id": bert.id})
	if err != nil {
		return err
	}
	channel, _ := path(answer, "channel", "channelId").(string)
	const count = 100
	for at := range count {
		if err := anna.device.send(object{"request_id": at + 1, "send_message": object{
			"channel_id": channel, "client_message_id": uuid7(), "text": fmt.Sprintf("message %d", at),
		}}); err != nil {
			return err
		}
		// The answer comes back on the stream that asked.
		if err := anna.device.until("a reply", func(frame object) bool {
			for _, reply := range frame["replies"].([]any) {
				if path(reply.(object), "requestId") == float64(at+1) && path(reply.(object), "sendMessage") != nil {
					return true
				}
			}
			return false
		}); err != nil {
			return err
		}
	}
	next := 0
	if err := bert.device.until("all messages in order", func(frame object) bool {
		for _, event := range frame["events"].([]any) {
			if path(event.(object), "message", "text") == fmt.Sprintf("message %d", next) {
				next++
			}
		}
		return next == count
	}); err != nil {
		return fmt.Errorf("after %d messages: %w", next, err)
	}
	r.figures["messages"] = next
	for _, person := range people {
		if err := person.device.send(object{"goodbye": object{}}); err != nil {
			return err
		}
		if err := person.device.until("the end", func(object) bool { return false }); !errors.Is(err, io.EOF) {
			return err
		}
	}
	// An error of the server's own catalogue, read as Go reads it.
	_, err = node.call(r.ctx, "parley.chat.v1.ChatService/GetInbox", object{})
	if err := expect(err, codes.Unauthenticated, ""); err != nil {
		return err
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == "parley" {
			r.figures["reason"] = info.Reason
		}
	}
	return nil
}
