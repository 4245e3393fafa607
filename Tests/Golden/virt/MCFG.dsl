[000h 0000   4]                    Signature : "MCFG"    [Memory Mapped Configuration table]
[004h 0004   4]                 Table Length : 0000003C
[008h 0008   1]                     Revision : 01
[009h 0009   1]                     Checksum : 00     /* Incorrect checksum, should be B1 */
[00Ah 0010   6]                       Oem ID : "STRATO"
[010h 0016   8]                 Oem Table ID : "STRATOVT"
[018h 0024   4]                 Oem Revision : 00000001
[01Ch 0028   4]              Asl Compiler ID : "STVT"
[020h 0032   4]        Asl Compiler Revision : 00000001

[024h 0036   8]                     Reserved : 0000000000000000

[02Ch 0044   8]                 Base Address : 0000007FC0000000
[034h 0052   2]         Segment Group Number : 0000
[036h 0054   1]             Start Bus Number : 00
[037h 0055   1]               End Bus Number : FF
[038h 0056   4]                     Reserved : 00000000

Raw Table Data: Length 60 (0x3C)

    0000: 4D 43 46 47 3C 00 00 00 01 00 53 54 52 41 54 4F  // MCFG<.....STRATO
    0010: 53 54 52 41 54 4F 56 54 01 00 00 00 53 54 56 54  // STRATOVT....STVT
    0020: 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 C0  // ................
    0030: 7F 00 00 00 00 00 00 FF 00 00 00 00              // ............
