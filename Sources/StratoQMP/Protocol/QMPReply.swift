/// What the server sends: each message is one line.
enum QMPReply {
    /// Ends each message.
    private static let lineEnd: [UInt8] = [ASCII.carriageReturn, ASCII.lineFeed]

    /// The first message to each client.
    static var greeting: [UInt8] {
        line([
            "QMP": .object([
                "version": QMPVersion.json,
                "capabilities": .array([]),
            ])
        ])
    }

    /// The answer to a request, with its `id` of whatever type if it had one.
    static func answer(_ result: Result<JSONValue, QMPError>, id: JSONValue?) -> [UInt8] {
        var message: JSONObject
        switch result {
        case .success(let value): message = ["return": value]
        case .failure(let error): message = ["error": error.json]
        }
        message["id"] = id
        return line(message)
    }

    static func event(_ event: QMPEvent) -> [UInt8] { line(event.json) }

    private static func line(_ message: JSONObject) -> [UInt8] {
        var bytes: [UInt8] = []
        JSONValue.object(message).encode(into: &bytes)
        bytes.append(contentsOf: lineEnd)
        return bytes
    }
}

/// The version that clients are told.
///
/// Programs compare the numbers with QEMU's to learn what they may ask for: these are StratoVirt's, and stand for the same.
enum QMPVersion {
    static var json: JSONValue {
        .object([
            "qemu": .object(["micro": .integer(1), "minor": .integer(0), "major": .integer(5)]),
            "package": .string("StratoVirt-2.5.0"),
        ])
    }
}
