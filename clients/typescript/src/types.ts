// Short names for the types of the OpenAPI document.
import type { components, operations } from "./schema.js";

type Schemas = components["schemas"];

export type Booking = Schemas["BookingBody"];
export type BookingList = Schemas["BookingListBody"];
export type BookingStatus = Schemas["BookingStatus"];
export type SeatStatus = Schemas["SeatStatus"];
export type SeatMap = Schemas["SeatMapBody"];
export type Availability = Schemas["AvailabilityBody"];
export type HoldfastEvent = Schemas["EventBody"];
export type EventList = Schemas["EventListBody"];
export type NewEvent = Schemas["NewEvent"];
export type EventChange = Schemas["EventChange"];
export type HoldRequest = Schemas["Hold"];
export type Payment = Schemas["Confirm"];
export type Place = Schemas["JoinedBody"];
export type QueueStatus = Schemas["QueueStatusBody"];
export type RoomSettings = Schemas["EnableRoom"];
export type RoomChanged = Schemas["ChangedBody"];
export type RoomFigures = Schemas["StatsBody"];
export type NewBlock = Schemas["NewBlock"];
export type Blocked = Schemas["BlockedBody"];
export type SocketTicket = Schemas["TicketBody"];
export type Problem = Schemas["Problem"];
export type ProblemSeat = Schemas["ProblemSeat"];
export type ErrorCode = Schemas["ErrorCode"];
/** A message from the server over the socket. */
export type ServerMessage = Schemas["PushMessage"];
export type MessageType = ServerMessage["type"];
/** The message of one type. */
export type MessageOf<T extends MessageType> = Extract<ServerMessage, { type: T }>;

export type EventQuery = NonNullable<operations["list_events"]["parameters"]["query"]>;
export type BookingQuery = NonNullable<operations["list_bookings"]["parameters"]["query"]>;
export type SeatQuery = NonNullable<operations["get_seat_map"]["parameters"]["query"]>;
