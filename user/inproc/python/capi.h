/* CPython's C interface, as far as the bridge uses it: names, signatures and numbers of the stable ABI (PEP 384) that have not
 * changed since 3.8, and a few exported functions that are weak here because not every version has them. With these lines of
 * our own one object serves CPython 3.8 to 3.14 and is built without Python's headers. Free-threaded builds have another
 * object layout: they are refused before anything is touched. */
#ifndef WF_BRIDGE_CAPI_H
#define WF_BRIDGE_CAPI_H

#include <stddef.h>
#include <stdint.h>

typedef intptr_t Py_ssize_t;
typedef struct _object {
    Py_ssize_t refcnt; /* never touched by hand */
    struct _object *type;
} PyObject;

typedef PyObject *(*PyCFunction)(PyObject *self, PyObject *arg);
typedef PyObject *(*PyFastCFunction)(PyObject *self, PyObject *const *args, Py_ssize_t n);
typedef struct {
    const char *name;
    void *function;
    int flags;
    const char *doc;
} PyMethodDef;
enum { METH_VARARGS = 1, METH_KEYWORDS = 2, METH_NOARGS = 4, METH_O = 8, METH_FASTCALL = 0x80 };

typedef struct {
    PyObject base;
    void *init;
    Py_ssize_t index;
    PyObject *copy;
    const char *name, *doc;
    Py_ssize_t size;
    PyMethodDef *methods;
    void *slots, *traverse, *clear, *free;
} PyModuleDef;
#define PYTHON_API_VERSION 1013 /* of modules with a PyModuleDef */

typedef struct {
    int slot;
    void *function;
} PyType_Slot;
typedef struct {
    const char *name;
    int basicsize, itemsize;
    unsigned int flags;
    PyType_Slot *slots;
} PyType_Spec;
enum { /* of typeslots.h */
       Py_nb_positive = 32,
       Py_am_await = 77,
       Py_am_anext = 79,
       Py_tp_alloc = 47,
       Py_tp_dealloc = 52,
       Py_tp_getattro = 58,
       Py_tp_iter = 62,
       Py_tp_iternext = 63,
       Py_tp_methods = 64,
       Py_tp_new = 65,
       Py_tp_traverse = 71,
       Py_tp_free = 74,
};
#define Py_TPFLAGS_DEFAULT  (1u << 18)
#define Py_TPFLAGS_HEAPTYPE (1ul << 9)
#define Py_TPFLAGS_HAVE_GC  (1u << 14)
#define Py_TPFLAGS_LONG     (1ul << 24)
#define Py_TPFLAGS_LIST     (1ul << 25)
#define Py_TPFLAGS_TUPLE    (1ul << 26)
#define Py_TPFLAGS_BYTES    (1ul << 27)
#define Py_TPFLAGS_UNICODE  (1ul << 28)
#define Py_TPFLAGS_DICT     (1ul << 29)
#define Py_TPFLAGS_TYPE     (1ul << 31)

extern PyObject _Py_NoneStruct, _Py_TrueStruct, _Py_FalseStruct;
extern PyObject PyFunction_Type, PyCode_Type, PyFloat_Type, PyLong_Type, PyUnicode_Type, PyTuple_Type, PyType_Type;
extern PyObject *PyExc_GeneratorExit, *PyExc_KeyboardInterrupt, *PyExc_RuntimeError, *PyExc_ValueError, *PyExc_StopIteration,
    *PyExc_TypeError;
#define Py_None  (&_Py_NoneStruct)
#define Py_True  (&_Py_TrueStruct)
#define Py_False (&_Py_FalseStruct)

void Py_IncRef(PyObject *);
void Py_DecRef(PyObject *);
unsigned long PyType_GetFlags(PyObject *type);
void *PyType_GetSlot(PyObject *type, int slot);
PyObject *PyType_FromSpec(PyType_Spec *);
PyObject *PyObject_GenericGetAttr(PyObject *, PyObject *name);
PyObject *PyObject_GetAttr(PyObject *, PyObject *name);
PyObject *PyObject_GetAttrString(PyObject *, const char *name);
int PyObject_SetAttr(PyObject *, PyObject *name, PyObject *value);
int PyObject_SetAttrString(PyObject *, const char *name, PyObject *value);
PyObject *PyObject_GetItem(PyObject *, PyObject *key);
Py_ssize_t PyObject_Size(PyObject *);
PyObject *PyObject_Str(PyObject *);
PyObject *PyObject_Call(PyObject *, PyObject *args, PyObject *kwargs);
PyObject *PyObject_CallObject(PyObject *, PyObject *args);
PyObject *PyObject_CallFunctionObjArgs(PyObject *, ...);
PyObject *PyObject_CallMethodObjArgs(PyObject *, PyObject *name, ...);
PyObject *PyObject_CallMethod(PyObject *, const char *name, const char *format, ...);
int PyObject_IsTrue(PyObject *);
PyObject *PyObject_GetIter(PyObject *);
PyObject *PyIter_Next(PyObject *);
PyObject *_PyObject_New(PyObject *type);
void PyObject_Free(void *);
PyObject *PyCFunction_NewEx(PyMethodDef *, PyObject *self, PyObject *module);

PyObject *PyUnicode_FromString(const char *);
PyObject *PyUnicode_FromStringAndSize(const char *, Py_ssize_t);
PyObject *PyUnicode_InternFromString(const char *);
PyObject *PyUnicode_Substring(PyObject *, Py_ssize_t from, Py_ssize_t to);
Py_ssize_t PyUnicode_GetLength(PyObject *);
const char *PyUnicode_AsUTF8AndSize(PyObject *, Py_ssize_t *);
PyObject *PyUnicode_AsEncodedString(PyObject *, const char *encoding, const char *errors);
int PyUnicode_CompareWithASCIIString(PyObject *, const char *);
PyObject *PyBytes_FromStringAndSize(const char *, Py_ssize_t);
int PyBytes_AsStringAndSize(PyObject *, char **, Py_ssize_t *);
PyObject *PyLong_FromLong(long);
PyObject *PyLong_FromUnsignedLongLong(unsigned long long);
long PyLong_AsLong(PyObject *);
unsigned long long PyLong_AsUnsignedLongLong(PyObject *);
long long PyLong_AsLongLongAndOverflow(PyObject *, int *overflow);
double PyFloat_AsDouble(PyObject *);
PyObject *PyTuple_New(Py_ssize_t);
PyObject *PyTuple_Pack(Py_ssize_t, ...);
Py_ssize_t PyTuple_Size(PyObject *);
PyObject *PyTuple_GetItem(PyObject *, Py_ssize_t);       /* borrowed */
int PyTuple_SetItem(PyObject *, Py_ssize_t, PyObject *); /* takes */
Py_ssize_t PyList_Size(PyObject *);
PyObject *PyList_GetItem(PyObject *, Py_ssize_t); /* borrowed */
int PyList_Insert(PyObject *, Py_ssize_t, PyObject *);
PyObject *PyDict_New(void);
PyObject *PyDict_GetItemWithError(PyObject *, PyObject *key); /* borrowed */
PyObject *PyDict_GetItemString(PyObject *, const char *);     /* borrowed */
int PyDict_SetItemString(PyObject *, const char *, PyObject *);
PyObject *Py_BuildValue(const char *, ...);
PyObject *PyFunction_GetGlobals(PyObject *); /* borrowed */
PyObject *PyFunction_GetCode(PyObject *);    /* borrowed */

PyObject *PyErr_Occurred(void);
void PyErr_Clear(void);
int PyErr_ExceptionMatches(PyObject *);
void PyErr_SetInterrupt(void);
void PyErr_SetString(PyObject *, const char *);
void PyErr_Fetch(PyObject **, PyObject **, PyObject **);
void PyErr_Restore(PyObject *, PyObject *, PyObject *);
void PyErr_GetExcInfo(PyObject **, PyObject **, PyObject **);
PyObject *PyException_GetTraceback(PyObject *);

void *PyThreadState_Get(void);
PyObject *PyEval_GetFrame(void);   /* borrowed */
PyObject *PyEval_GetGlobals(void); /* borrowed */
typedef int (*Py_tracefunc)(PyObject *, PyObject *frame, int what, PyObject *arg);
void PyEval_SetProfile(Py_tracefunc, PyObject *);
PyObject *PySys_GetObject(const char *); /* borrowed */
PyObject *PyImport_ImportModule(const char *);
PyObject *PyImport_GetModuleDict(void); /* borrowed */
PyObject *PyModule_Create2(PyModuleDef *, int);
PyObject *PyWeakref_NewRef(PyObject *, PyObject *callback);
const char *Py_GetVersion(void);
int PySys_AddAuditHook(int (*)(const char *event, PyObject *args, void *), void *);

/* Since 3.9 (the first under this name), 3.11, and 3.9, 3.9, 3.12. */
__attribute__((weak)) void *PyInterpreterState_Get(void);
__attribute__((weak)) void *_PyInterpreterState_Get(void);
void *PyInterpreterState_Main(void);
__attribute__((weak)) PyObject *PyFrame_GetGenerator(PyObject *frame);
__attribute__((weak)) PyObject *PyFrame_GetBack(PyObject *frame);
__attribute__((weak)) PyObject *PyFrame_GetCode(PyObject *frame);
__attribute__((weak)) PyObject *PyFrame_GetVar(PyObject *frame, PyObject *name);

static inline PyObject *py_type(PyObject *o) { return o->type; }
static inline unsigned long py_flags(PyObject *o) { return PyType_GetFlags(o->type); }
static inline PyObject *py_ref(PyObject *o)
{
    Py_IncRef(o);
    return o;
}
static inline PyObject *py_none(void) { return py_ref(Py_None); }
static inline void py_unrefp(PyObject **o) { Py_DecRef(*o); } /* cleanup(); Py_DecRef takes NULL */

#endif
